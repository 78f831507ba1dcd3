"""Progress of long work, on standard error.

A terminal shows a bar, a notebook a line that changes. Elsewhere, in logs and pipes, work of more than ten
seconds prints a line now and then. HF_HUB_DISABLE_PROGRESS_BARS=1 silences all, as it does huggingface_hub.
"""

from zoo._progress.bars import BytesReport, StepsReport, bytes_bar, steps_bar
from zoo._progress.streams import is_terminal

__all__ = ["BytesReport", "StepsReport", "bytes_bar", "is_terminal", "steps_bar"]
