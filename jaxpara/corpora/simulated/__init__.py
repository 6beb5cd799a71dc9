"""Simulated corpora in the ComParE layout, for those who have no licence for the real ones."""

from jaxpara.corpora.simulated import breathing, mask

SIMULATED = {"breathing": breathing.write, "mask": mask.write}
