"""The checkpoint file: written whole or not at all, read without running anything in it."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import torch

from ostinato.errors import TrainingError
from ostinato.models.files import write_bytes
from ostinato.models.needs import need

CheckpointIO: Any = need("lightning.pytorch.plugins.io").CheckpointIO


class SafeCheckpointIO(CheckpointIO):
    """How Lightning writes and reads a checkpoint here."""

    def save_checkpoint(self, checkpoint: dict[str, Any], path: str | Path, storage_options: Any = None) -> None:
        """Replaces ``path`` in one step.

        Raises:
            TrainingError: the disk is full or not writable; the checkpoint that was there is as it was.
        """
        # Through memory, because torch's zip writer reports a full disk as an error of its own.
        content = io.BytesIO()
        torch.save(checkpoint, content)
        try:
            write_bytes(Path(path), content.getbuffer())
        except OSError as error:
            raise TrainingError(
                f"the checkpoint could not be written to {path} ({error}); the one from before is intact. "
                f"Make room, and go on with --resume"
            ) from error

    def load_checkpoint(self, path: str | Path, map_location: Any = None, weights_only: bool | None = None) -> Any:
        """The checkpoint; tensors and plain values only, whatever ``weights_only`` says.

        Raises:
            TrainingError: the file is damaged, or holds more than that.
        """
        return read_checkpoint(Path(path), map_location)

    def remove_checkpoint(self, path: str | Path) -> None:
        """Removes the file."""
        Path(path).unlink(missing_ok=True)


def read_checkpoint(path: Path, map_location: Any = "cpu") -> dict[str, Any]:
    """The checkpoint at ``path``.

    Raises:
        TrainingError: the file is damaged, or holds more than tensors and plain values.
    """
    try:
        content = torch.load(path, map_location=map_location, weights_only=True)
    except Exception as error:
        raise TrainingError(
            f"the checkpoint {path} cannot be read ({type(error).__name__}: {str(error)[:200]}); "
            f"begin anew with --overwrite"
        ) from error
    if not isinstance(content, dict) or "global_step" not in content or "ostinato" not in content:
        raise TrainingError(f"{path} is no checkpoint of Ostinato; begin anew with --overwrite")
    return content
