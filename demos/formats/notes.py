"""What is said of one episode while it is put together from a foreign source."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from demos.model import Finding, Severity
from demos.provenance import new_id


@dataclass(slots=True)
class Notes:
    """Words for the provenance and findings for the episode; `id` stands in for the episode's."""

    id: str = field(default_factory=new_id)
    assumed: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    findings: list[Finding] = field(default_factory=list)

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
