"""Make docs/dashboard.png, the README's picture: a real dashboard, while a real array runs and hosts are reclaimed.

.venv/bin/python scripts/dashboard_picture.py      (needs Chromium: apt-get install chromium)
"""

import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from PIL import Image
from playwright.sync_api import Page, sync_playwright

from spotbatch.batch.job import ResourceRequirements
from spotbatch.batch.status import JobStatus
from spotbatch.rehearsal.private_region import PrivateRegion, private_region

ROOT = Path(__file__).resolve().parent.parent
PICTURE = ROOT / "docs" / "dashboard.png"
CHILDREN = 160
DONE_AT_PICTURE = 96
RECLAIM_AT = (6, 20, 32)  # children done
SIZE = {"width": 1180, "height": 900}
LARGEST_BYTES = 200_000
COLOURS = 160  # the page has about thirty; the rest are the edges of letters
LIMIT_SECONDS = 300.0
# Work of 6 to 14 seconds in steps that are saved; child 41 has a bug.
WORK = """cd "$SPOTBATCH_CHECKPOINT_DIR"; n=$(cat n 2>/dev/null || echo 0); i=$AWS_BATCH_JOB_ARRAY_INDEX
while [ $n -lt $(( 12 + i * 7 % 17 )) ]; do n=$((n+1)); echo $n > n.new && mv n.new n; sleep 0.5; done
[ "$i" != 41 ] && exit
echo "reading chr7.vcf"; echo "ValueError: line 40,112: allele frequency 1.7 is not between 0 and 1"; exit 1"""


def main() -> None:
    chromium = shutil.which("chromium") or shutil.which("chromium-browser")
    if chromium is None:
        sys.exit("Chromium is not installed: apt-get install chromium")
    needs = ResourceRequirements(vcpus=1, memory_mib=512)
    with private_region(needs=needs, max_vcpus=16, notice_seconds=0.5) as region:
        size = ("--array", str(CHILDREN), "--retries", "3")
        submitted = command("submit", "--name", "score-genomes", *size, "--", "sh", "-c", WORK)
        dashboard = subprocess.Popen(spotbatch("dashboard", "--port", "0"), stdout=subprocess.PIPE, text=True)
        try:
            link = (dashboard.stdout or sys.stdin).readline().strip().replace("/?key", f"/jobs/{submitted}?key")
            with sync_playwright() as started:
                browser = started.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
                page = browser.new_page(viewport=SIZE)  # type: ignore[arg-type]  # a dictionary of two numbers
                page.goto(link)
                take(page, region, submitted)
                browser.close()
        finally:
            dashboard.send_signal(signal.SIGINT)
            dashboard.wait(20)
            command("cancel", submitted, "--yes")
    weight = PICTURE.stat().st_size
    sys.stdout.write(f"{PICTURE.relative_to(ROOT)}: {weight:,} bytes\n")
    if weight > LARGEST_BYTES:
        sys.exit(f"that is more than {LARGEST_BYTES:,} bytes")


def take(page: Page, region: PrivateRegion, array: str) -> None:
    """Reclaim hosts along the way, then take the picture."""
    for count in RECLAIM_AT:
        wait_for(lambda count=count: done(array) >= count)  # type: ignore[misc]  # the default binds the loop's value
        region.client.interrupt(count=1)
    wait_for(lambda: done(array) >= DONE_AT_PICTURE)
    page.locator("#r-hosts path.reclaim").nth(len(RECLAIM_AT) - 1).wait_for(state="attached", timeout=180_000)
    page.locator("#r-money figure").wait_for()
    page.locator("#r-failures .last-lines").wait_for()
    page.locator("#r-hosts details").first.evaluate("each => each.open = true")
    below = page.locator("#r-money section").bounding_box()  # the table of the children follows, and is left out
    height = int(below["y"] + below["height"] + 12) if below is not None else SIZE["height"]
    page.screenshot(path=PICTURE, full_page=True, clip={"x": 0, "y": 0, "width": SIZE["width"], "height": height})
    with Image.open(PICTURE) as taken:
        taken.convert("P", palette=Image.Palette.ADAPTIVE, colors=COLOURS).save(PICTURE, optimize=True)


def done(array: str) -> int:
    """How many children have ended."""
    from spotbatch.aws.jobs import Jobs

    found = Jobs().get(array).array
    return 0 if found is None else sum(found.status_summary[each] for each in (JobStatus.SUCCEEDED, JobStatus.FAILED))


def wait_for(happened: Callable[[], bool]) -> None:
    deadline = time.monotonic() + LIMIT_SECONDS
    while not happened():
        if time.monotonic() > deadline:
            sys.exit(f"nothing happened within {LIMIT_SECONDS:.0f} s")
        time.sleep(0.5)


def spotbatch(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "spotbatch.cli.main", *arguments]


def command(*arguments: str) -> str:
    """A command's standard output."""
    return subprocess.run(spotbatch(*arguments), check=True, stdout=subprocess.PIPE, text=True).stdout.strip()


if __name__ == "__main__":
    main()
