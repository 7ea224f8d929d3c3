"""Programs that keep no checkpoints, each with the command that runs it and what it needs on this machine."""

import shutil
import sys
from dataclasses import dataclass

_PYTHON = sys.executable


@dataclass(frozen=True, kw_only=True)
class Program:
    """One program. It writes its result to $SPOTBATCH_OUTPUT_DIR/result, the same in every run."""

    name: str
    command: tuple[str, ...]
    needs: tuple[str, ...] = ()

    @property
    def missing(self) -> list[str]:
        return [each for each in self.needs if shutil.which(each) is None]


def shell(name: str, script: str, *needs: str) -> Program:
    return Program(name=name, command=("bash", "-c", f"set -eo pipefail; cd $TMPDIR; {script}"), needs=("bash", *needs))


def python(name: str, script: str) -> Program:
    return Program(name=name, command=(_PYTHON, "-c", f"{_RESULT}{script}"))


_RESULT = """
import os, sys, time
def result(data):
    with open(os.environ["SPOTBATCH_OUTPUT_DIR"] + "/result", "w") as file: file.write(str(data))
"""
# So many numbers that each takes some seconds on one core.
_NUMBERS = "$SPOTBATCH_OUTPUT_DIR/result"

PROGRAMS = (
    python(
        "hash chain",
        "import hashlib\nh = b''\nfor i in range(1_500_000): h = hashlib.sha256(h).digest()\nresult(h.hex())",
    ),
    python(
        "numpy with BLAS",
        "import numpy as np\nr = np.random.default_rng(3); a = r.random((700, 700)) / 350\n"
        "for i in range(60): a = a @ a; a /= a.max()\nresult(a.sum())",
    ),
    python(
        "eight threads",
        "import threading, hashlib\nout = [0] * 8\ndef work(n):\n    h = bytes([n])\n"
        "    for i in range(150_000): h = hashlib.sha256(h).digest()\n    out[n] = h.hex()\n"
        "ts = [threading.Thread(target=work, args=(n,)) for n in range(8)]\n[t.start() for t in ts]\n[t.join() for t in ts]\nresult(out)",
    ),
    python(
        "multiprocessing",
        "import multiprocessing as m, hashlib\ndef work(n):\n    h = bytes([n])\n"
        "    for i in range(40_000): h = hashlib.sha256(h).digest()\n    return h.hex()\n"
        "with m.get_context('fork').Pool(3) as pool: result(pool.map(work, range(30), chunksize=1))",
    ),
    python(
        "memfd and a shared map",
        "import mmap\nf = os.memfd_create('x'); os.ftruncate(f, 1 << 20); m = mmap.mmap(f, 1 << 20)\n"
        "if os.fork() == 0:\n    for i in range(1 << 20):\n        m[i] = i * 7 % 251\n    os._exit(0)\n"
        "os.wait()\nn = 0\nfor i in range(1 << 20): n = (n * 31 + m[i]) % 1_000_003\nresult(n)",
    ),
    python(
        "a map of a file",
        "import mmap\nf = open('data', 'w+b'); f.truncate(1 << 21); m = mmap.mmap(f.fileno(), 1 << 21)\n"
        "for i in range(1 << 21): m[i] = i * 13 % 253\nm.flush(); f.seek(0)\nimport hashlib; result(hashlib.sha256(f.read()).hexdigest())",
    ),
    python(
        "asyncio over TCP",
        "import asyncio\nasync def main():\n    got = []\n    async def serve(r, w):\n"
        "        while data := await r.readexactly(8): \n            got.append(int(data)); w.write(data); await w.drain()\n"
        "            if len(got) == 20000: w.close(); return\n"
        "    server = await asyncio.start_server(serve, '127.0.0.1', 0)\n"
        "    r, w = await asyncio.open_connection(*server.sockets[0].getsockname())\n"
        "    for i in range(20000):\n        w.write(b'%08d' % i); assert int(await r.readexactly(8)) == i\n"
        "    result(sum(got))\nasyncio.run(main())",
    ),
    python(
        "900 descriptors and a fifo",
        "fs = [open(f'f{i}', 'w+') for i in range(900)]\nos.mkfifo('p')\n"
        "if os.fork() == 0:\n    with open('p', 'w') as p:\n        for i in range(300_000): p.write(f'{i}\\n')\n    os._exit(0)\n"
        "n = 0\nfor i, line in enumerate(open('p')): n += int(line); fs[i % 900].write(line)\n"
        "for f in fs: f.seek(0)\nresult([n, sum(sum(map(int, f)) for f in fs)])",
    ),
    python(
        "sqlite",
        "import sqlite3\nd = sqlite3.connect('db'); d.execute('pragma journal_mode=wal'); d.execute('create table t (n, s)')\n"
        "for i in range(6000): d.execute('insert into t values (?, ?)', (i, str(i) * 9)); d.commit() if i % 3 == 0 else None\n"
        "d.commit(); result(d.execute('select count(*), sum(n), sum(length(s)) from t').fetchone())",
    ),
    python(
        "an alarm every 20 ms",
        "import signal\nn = 0\ndef tick(*_):\n    global n; n += 1\nsignal.signal(signal.SIGALRM, tick)\n"
        "signal.setitimer(signal.ITIMER_REAL, 0.02, 0.02)\nwhile n < 150: signal.pause()\n"
        "signal.setitimer(signal.ITIMER_REAL, 0)\nresult('150 ticks')",
    ),
    shell(
        "GNU sort",
        f"seq 1 1200000 | awk '{{print ($1 * 7919) % 1000003, $1}}' | sort -S 8M -T . -n | sha256sum > {_NUMBERS}",
    ),
    shell("gzip", f"seq 1 6000000 | gzip -9 | gzip -d | sha256sum > {_NUMBERS}"),
    shell("xz", f"seq 1 900000 | xz -6 | xz -d | sha256sum > {_NUMBERS}", "xz"),
    shell("zstd on two threads", f"seq 1 9000000 | zstd -12 -T2 -q | zstd -d -q | sha256sum > {_NUMBERS}", "zstd"),
    shell("awk", f"awk 'BEGIN {{ for (i = 0; i < 12000000; i++) s = (s * 31 + i) % 1000003; print s }}' > {_NUMBERS}"),
    shell(
        "perl", f"perl -e '$s = 0; $s = ($s * 31 + $_) % 1000003 for 0 .. 12_000_000; print $s' > {_NUMBERS}", "perl"
    ),
    shell(
        "bash alone",
        f"s=0; for ((i = 0; i < 250000; i++)); do s=$(((s * 31 + i) % 1000003)); done; echo $s > {_NUMBERS}",
    ),
    shell(
        "node",
        "node -e 'let s = 0n; for (let i = 0n; i < 3000000n; i++) s = (s * 31n + i) % 1000003n; "
        'require("fs").writeFileSync(process.env.SPOTBATCH_OUTPUT_DIR + "/result", String(s))\'',
        "node",
    ),
    shell(
        "ffmpeg x264",
        f"ffmpeg -v error -f lavfi -i testsrc=d=20:s=320x240 -c:v libx264 -threads 2 -bitexact -f h264 - | sha256sum > {_NUMBERS}",
        "ffmpeg",
    ),
    shell(
        "git",
        f"git init -q r; cd r; git config user.email a@b; git config user.name a; for i in $(seq 120); do seq $i 400 > f; git add f; GIT_AUTHOR_DATE=@$i GIT_COMMITTER_DATE=@$i git commit -qm $i; done; git rev-parse HEAD > {_NUMBERS}",
        "git",
    ),
    shell(
        "samtools sort",
        'awk \'BEGIN { print "@SQ\\tSN:c\\tLN:9999999"; for (i = 0; i < 300000; i++) '
        'print "r" i "\\t0\\tc\\t" 1 + i * 7919 % 9000000 "\\t60\\t4M\\t*\\t0\\t0\\tACGT\\t####" }\' '
        f"| samtools sort --no-PG -m 4M -T tmp -O sam - | sha256sum > {_NUMBERS}",
        "samtools",
    ),
    shell(
        "R", f"Rscript -e 's <- 0; for (i in 1:20000000) s <- (s * 31 + i) %% 1000003; cat(s)' > {_NUMBERS}", "Rscript"
    ),
    shell(
        "java",
        "echo 'class S { public static void main(String[] a) throws Exception { long s = 0; "
        "for (long i = 0; i < 400000000L; i++) s = (s * 31 + i) % 1000003; System.out.println(s); } }' > S.java; "
        f"javac S.java; java S > {_NUMBERS}",
        "javac",
        "java",
    ),
)
