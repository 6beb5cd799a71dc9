"""Simulated corpora in the layout of ComParE, for everyone without a licence for the real ones."""

from jaxpara.corpora.simulated import breathing, mask

STAMP = "SIMULATED corpus: no figure here is the paper's or says anything about the real one"
SIMULATED = {"breathing": breathing.write, "mask": mask.write}
