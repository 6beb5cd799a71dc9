"""Corpora: recordings, partitions, labels, speakers and folds."""
