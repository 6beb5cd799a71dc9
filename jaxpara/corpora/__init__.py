"""What is said: recordings, partitions, labels, speakers."""
