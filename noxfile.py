"""Each library in an environment of its own, where their pins collide: `nox -s libraries`, `nox -s gymnasium`.

    nox --list
    nox -s "libraries(torchrl)"
    nox -s "gymnasium(1.1.1)"

pip install "dreamgym[dev]" brings nox. Each session takes a few minutes.
"""

from __future__ import annotations

import tempfile

import nox

nox.options.sessions = ["gymnasium", "libraries"]
nox.options.error_on_missing_interpreters = True

LIBRARIES = ("evotorch", "rl_games", "rllib", "sb3_contrib", "skrl", "tianshou", "torchrl")
"""Bridges that need an extra of the same name, but for hyphens: pip 23.2 finds an extra by these alone."""
OTHER = {"rllib", "tianshou"}
"""Their pins contradict `constraints.txt`."""


@nox.session
@nox.parametrize("version", [nox.param(version, id=version) for version in ("1.1.1", "1.2.2", "1.3.0", "1.4.0")])
def gymnasium(session: nox.Session, version: str) -> None:
    """Test the envs, the test kit and the bridge to SB3 with a release of Gymnasium."""
    free = constraints(session, "gymnasium", "pillow")  # moviepy, which RecordVideo needs, wants an older pillow
    session.install("-e", ".[box2d,plots,video]", "moviepy", f"gymnasium=={version}", "pytest", *free)
    test(session, "tests/envs", "tests/testing", "tests/bridges/test_sb3.py")


@nox.session
@nox.parametrize("library", [nox.param(library, id=library) for library in LIBRARIES])
def libraries(session: nox.Session, library: str) -> None:
    """Test the bridge to a library."""
    pinned = [] if library in OTHER else constraints(session)
    session.install("-e", f".[{library.replace('_', '-')}]", "pytest", *pinned)
    test(session, f"tests/bridges/test_{library}.py", "-m", "integration or not integration")


@nox.session
def ray(session: nox.Session) -> None:
    """Test collecting with Ray."""
    session.install("-e", ".[ray]", "pytest", *constraints(session))
    test(session, "tests/data/test_ray_pool.py", "-m", "integration or not integration")


def constraints(session: nox.Session, *free: str) -> list[str]:
    """Return the option that pins the tested versions, but for those of some packages."""
    path = session.create_tmp() + "/constraints.txt"
    with open("constraints.txt") as tested, open(path, "w") as out:
        out.writelines(line for line in tested if line.partition("==")[0] not in free)
    return ["-c", path]


def test(session: nox.Session, *args: str) -> None:
    """Run pytest on one thread and without a display."""
    short = tempfile.gettempdir()  # Ray's sockets lie there, and nox's own folder makes their paths too long
    session.run("python", "-m", "pytest", "-q", *args, *session.posargs,
                env={"OMP_NUM_THREADS": "1", "SDL_VIDEODRIVER": "dummy", "TMPDIR": short})  # fmt: skip
