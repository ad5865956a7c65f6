"""The block log: acknowledged blocks survive any death, damage is passed over and named."""

from __future__ import annotations

import os
import resource
import signal
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from demos.errors import DemosError, RecordingFailed, StoreError
from demos.store.blocks import OVERHEAD, Block, BlockLog, Kind, Scar, blocks


def written(path: Path, payloads: list[bytes]) -> list[bytes]:
    log = BlockLog(path)
    for payload in payloads:
        log.append(Kind.SAMPLES, 3, payload, flags=1)
    log.close()
    return payloads


def test_blocks_come_back_in_order_with_all_they_carried(tmp_path: Path) -> None:
    payloads = written(tmp_path / "log", [b"", b"a", bytes(100_000), b"blk" * 7])

    found = list(blocks(tmp_path / "log"))

    assert [block.payload for block in found if isinstance(block, Block)] == payloads
    assert {(b.kind, b.source, b.flags) for b in found if isinstance(b, Block)} == {(3, 3, 1)}


@pytest.mark.parametrize("cut", range(1, OVERHEAD + 5))
def test_a_torn_last_block_is_the_normal_end(tmp_path: Path, cut: int) -> None:
    path = tmp_path / "log"
    written(path, [b"first", b"last!"])
    path.write_bytes(path.read_bytes()[:-cut])

    first, scar = blocks(path)

    assert isinstance(first, Block)
    assert first.payload == b"first"
    assert scar == Scar(OVERHEAD + 5, OVERHEAD + 5 - cut, tail=True)


def test_damage_in_the_middle_is_located_and_what_follows_is_read(tmp_path: Path) -> None:
    path = tmp_path / "log"
    written(path, [b"one", b"two", b"three"])
    content = bytearray(path.read_bytes())
    content[OVERHEAD + 3 + OVERHEAD + 1] ^= 4
    path.write_bytes(content)

    found = list(blocks(path))

    assert [b.payload for b in found if isinstance(b, Block)] == [b"one", b"three"]
    assert found[1] == Scar(OVERHEAD + 3, OVERHEAD + 3, tail=False)


@given(content=st.binary(max_size=300), at=st.integers(0, 200), flip=st.integers(1, 255))
@settings(max_examples=200, deadline=None)
def test_no_bytes_on_earth_break_the_reader(
    tmp_path_factory: pytest.TempPathFactory, content: bytes, at: int, flip: int
) -> None:
    path = tmp_path_factory.mktemp("log") / "log"
    written(path, [b"one", content])
    changed = bytearray(path.read_bytes() + content)
    changed[at % len(changed)] ^= flip
    path.write_bytes(changed)

    found = list(blocks(path))

    covered = sum(
        item.length if isinstance(item, Scar) else OVERHEAD + len(item.payload) for item in found
    )
    assert covered == len(changed)


def test_a_log_that_is_there_is_never_written_over(tmp_path: Path) -> None:
    written(tmp_path / "log", [b"precious"])

    with pytest.raises(StoreError, match="exists"):
        BlockLog(tmp_path / "log")


def test_any_thread_may_append(tmp_path: Path) -> None:
    log = BlockLog(tmp_path / "log")

    def work(number: int) -> None:
        for i in range(500):
            log.append(Kind.SAMPLES, number, struct.pack("<q", i) * number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(1, 5)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    log.close()

    for number in range(1, 5):
        own = [b for b in blocks(tmp_path / "log") if isinstance(b, Block) and b.source == number]
        assert [struct.unpack_from("<q", b.payload)[0] for b in own] == list(range(500))


def test_blocks_reach_the_disk_within_a_second_without_being_asked(tmp_path: Path) -> None:
    log = BlockLog(tmp_path / "log")

    log.append(Kind.SAMPLES, 0, b"x")
    deadline_s = time.monotonic() + 10
    while log.counters.synced_blocks < 1 and time.monotonic() < deadline_s:
        time.sleep(0.01)

    counters = log.counters
    log.close()
    assert (counters.synced_blocks, counters.synced_bytes) == (1, OVERHEAD + 1)
    assert 0 < counters.at_risk_s < 5


def test_a_closed_log_says_so(tmp_path: Path) -> None:
    log = BlockLog(tmp_path / "log")
    log.close()

    with pytest.raises(RecordingFailed, match="closed"):
        log.append(Kind.SAMPLES, 0, b"x")


def test_a_full_disk_keeps_what_was_acknowledged_and_lets_go_on(tmp_path: Path) -> None:
    log = BlockLog(tmp_path / "log")
    log.append(Kind.SAMPLES, 0, b"kept")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    previous = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, hard))
    try:
        with pytest.raises(RecordingFailed, match="too large") as caught:
            log.append(Kind.SAMPLES, 0, bytes(5000))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
        signal.signal(signal.SIGXFSZ, previous)

    log.append(Kind.SAMPLES, 0, b"after")
    log.close()

    assert "demos recover" in caught.value.hint
    assert [b.payload for b in blocks(tmp_path / "log") if isinstance(b, Block)] == [
        b"kept",
        b"after",
    ]


_CHILD = """
import os, struct, sys
from pathlib import Path
from demos.store.blocks import BlockLog
log, filling, number = BlockLog(Path(sys.argv[1])), os.urandom(200_000), 0
while True:
    size = number * 7919 % (150 if number % 50 else 200_000)
    log.append(3, 1, struct.pack("<q", number) + filling[:size])
    number += 1
    os.write(1, struct.pack("<q", number))
"""


@pytest.mark.parametrize("delay_s", [0.0, 0.01, 0.05, 0.1])
def test_kill_9_loses_nothing_that_was_acknowledged(tmp_path: Path, delay_s: float) -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", _CHILD, str(tmp_path / "log")], stdout=subprocess.PIPE
    )
    assert child.stdout is not None
    told = child.stdout.read(8)
    time.sleep(delay_s)
    os.kill(child.pid, signal.SIGKILL)
    told += child.stdout.read()
    child.stdout.close()
    child.wait()

    found = [block for block in blocks(tmp_path / "log") if isinstance(block, Block)]

    acknowledged = struct.unpack_from("<q", told, len(told) // 8 * 8 - 8)[0]
    numbers = [struct.unpack_from("<q", block.payload)[0] for block in found]
    assert numbers == list(range(len(numbers)))
    assert len(numbers) >= acknowledged > 0


def test_a_missing_log_is_our_error(tmp_path: Path) -> None:
    with pytest.raises(DemosError, match="cannot read"):
        list(blocks(tmp_path / "nowhere"))
