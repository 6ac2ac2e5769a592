"""Measure what a trained model tells about its training data: membership inference and nearest neighbours.

    python scripts/audit.py subject=planner planner.model=cube-single/noniid/dcfm_a out=runs/audit/dcfm_a
    python scripts/audit.py subject=toy
    python scripts/audit.py subject=toy_overfit  # a leak on purpose: the attack must find it

Prints a table and writes ``audit.json``, ``table.txt`` and ``config.yaml`` to ``out``. What the numbers mean:
docs/privacy.md.
"""

from omegaconf import DictConfig, OmegaConf
from tqdm import tqdm

from dcfm.artefacts import write_text_atomically
from dcfm.configuration import check_same_settings, script, writable
from dcfm.privacy.audit import AuditSettings, audit, read_subject, table
from dcfm.records import made_by, write_json


@script("audit", "nothing was written")
def main(config: DictConfig) -> None:
    """Read or train the model, attack it, write, print."""
    settings = AuditSettings(config.noises, config.most, config.generated, config.seed)
    out = writable(config.out)
    check_same_settings(out, config, made="audit.json")
    subject = read_subject(config)
    with tqdm(total=len(subject.targets), unit="network") as bar:
        records = audit(subject, settings, bar.update)
    content = {
        **made_by(),
        "settings": OmegaConf.to_container(config, resolve=True),
        "facts": dict(subject.facts),
        "targets": records,
    }
    write_text_atomically(out / "config.yaml", OmegaConf.to_yaml(config, resolve=True))
    write_json(out / "audit.json", content)
    write_text_atomically(out / "table.txt", table(records) + "\n")
    print(f"{table(records)}\n\nwrote {out}/audit.json, table.txt")


if __name__ == "__main__":
    main()
