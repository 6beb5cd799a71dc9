"""docs/reproduce.md, the longest page: its sections use no results of one another, so each is a test of its own."""

import pytest
from pages import STEPS

SECTIONS = dict.fromkeys(step.section for step in STEPS["reproduce.md"])


@pytest.mark.parametrize("section", SECTIONS)
def test_a_section_can_be_followed(section, follow_page):
    follow_page([step for step in STEPS["reproduce.md"] if step.section == section])
