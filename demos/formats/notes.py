"""What is said of one episode while it is put together from a foreign source."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from demos import mapping
from demos.model import Embodiment, Finding, Provenance, Severity, Stream
from demos.provenance import made_by, new_id


@dataclass(slots=True)
class Notes:
    """Words for the provenance and findings for the episode; `id` stands in for the episode's.

    sha256: of each file, or of the episode's share `file#episode` where a file holds several:
    such a file grows with the dataset, and what was imported from it must be known again.
    """

    id: str = field(default_factory=new_id)
    assumed: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    sha256: dict[str, str] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)

    def doubt(self, streams: Mapping[str, Stream], body: Embodiment | None) -> None:
        """Add findings for channels whose numbers contradict the body, where one is known."""
        if body is not None:
            self.findings += mapping.doubts(streams, body, episode=self.id)

    def provenance(self, source: str, format: str, **more: object) -> Provenance:
        """Say where the episode came from, with all that was assumed and missing on the way."""
        return made_by(
            "demos import",
            source=source,
            source_format=format,
            source_sha256=self.sha256,
            assumed=tuple(dict.fromkeys(self.assumed)),
            missing=tuple(dict.fromkeys(self.missing)),
            **more,
        )

    def find(
        self, check: str, message: str, hint: str = "", severity: Severity = "warning", **more: Any
    ) -> None:
        """Add a finding of the importer."""
        self.findings.append(
            Finding(
                episode=self.id,
                check=f"import.{check}",
                severity=severity,
                message=message,
                hint=hint,
                **more,
            )
        )
