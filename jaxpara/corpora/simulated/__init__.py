"""Simulated corpora in the ComParE layout, for those who have no licence for the real ones."""

from jaxpara.corpora.simulated import breathing

SIMULATED = {"breathing": breathing.write}
