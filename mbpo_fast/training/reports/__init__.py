"""Reports: one self-contained page for a run or for a comparison of runs."""

from mbpo_fast.training.reports.comparison import write_comparison
from mbpo_fast.training.reports.single import write_report

__all__ = ["write_comparison", "write_report"]
