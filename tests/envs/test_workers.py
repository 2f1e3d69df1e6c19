"""Worker processes: they fail loudly, leave nothing behind, and do not outlive their parent."""

import gc
import os
import signal
import subprocess
import sys
import textwrap

import numpy as np
import pytest

from mbpo_fast.envs import make_vec

ALONE = [sys.executable, "-X", "dev", "-W", "error"]


def run_alone(program, **kwargs):
    return subprocess.Popen(
        [*ALONE, "-c", textwrap.dedent(program)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        **kwargs,
    )


def is_running(pid):
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


def test_close_stops_the_workers_and_leaves_nothing():
    before = set(os.listdir("/proc/self/fd"))
    vec = make_vec("Catch", 3, workers=2)
    pids = vec.worker_pids
    vec.reset()
    assert len(pids) == 2
    assert all(is_running(pid) for pid in pids)
    vec.close()
    vec.close()
    assert not any(is_running(pid) for pid in pids)
    with pytest.raises(RuntimeError, match=r"\[step\] expected running workers"):
        vec.step([0, 0, 0])
    del vec
    gc.collect()
    assert set(os.listdir("/proc/self/fd")) <= before


def test_more_workers_than_games_are_not_started():
    vec = make_vec("Catch", 2, workers=5)
    assert len(vec.worker_pids) == 2
    vec.close()


def test_a_dead_worker_is_named_and_the_others_are_stopped():
    vec = make_vec("Catch", 4, workers=2)
    vec.reset()
    pids = vec.worker_pids
    os.kill(pids[1], signal.SIGKILL)
    vec._group._processes[1].wait()
    with pytest.raises(RuntimeError, match=r"worker 1 \(lanes 2 to 3\) died with exit code -9"):
        vec.step(np.zeros(4, int))
    assert not any(is_running(pid) for pid in pids)
    with pytest.raises(RuntimeError, match="expected running workers"):
        vec.step(np.zeros(4, int))
    vec.close()


def test_an_error_in_a_worker_arrives_with_its_traceback():
    vec = make_vec("Catch", 2, workers=2)
    vec.reset()
    state = {"lane0.stack": 0, "lane1.game.counters": np.zeros(2, int)}
    with pytest.raises(RuntimeError, match=r"worker 0 \(lanes 0 to 0\) failed:\nTraceback(.|\n)*KeyError"):
        vec._group.set_state(state)
    vec.close()


def test_an_interrupted_pool_is_not_used_again(monkeypatch):
    vec = make_vec("Catch", 2, workers=2)
    vec.reset()
    # A process that a shell started in the background ignores Ctrl-C.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    with monkeypatch.context() as patch:
        patch.setattr(vec._group, "_receive", lambda verb, worker: signal.raise_signal(signal.SIGINT))
        with pytest.raises(KeyboardInterrupt):
            vec.step([0, 0])
    signal.signal(signal.SIGINT, before)
    with pytest.raises(RuntimeError, match="got a stopped or interrupted pool"):
        vec.step([0, 0])
    vec.close()


def test_signals_to_the_group_leave_the_workers_to_the_parent():
    vec = make_vec("Catch", 2, workers=1)
    vec.reset()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGUSR1):
        os.kill(vec.worker_pids[0], number)
    vec.step([0, 1])
    assert vec.get_state().keys() == make_vec("Catch", 2).get_state().keys()
    vec.close()


def test_signals_to_the_group_do_not_hurt_workers_that_are_starting():
    program = """
        import os, signal, threading, time
        from mbpo_fast.envs import make_vec
        os.setpgrp()
        noted = []
        signal.signal(signal.SIGINT, lambda *_: noted.append(1))
        def shout():
            while True:
                os.killpg(0, signal.SIGINT)
                time.sleep(0.005)
        threading.Thread(target=shout, daemon=True).start()
        vec = make_vec("Catch", 2, workers=2)
        vec.reset()
        vec.step([0, 1])
        vec.close()
        print(len(noted) > 0)
    """
    process = run_alone(program)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (0, "True\n", "")


def test_workers_import_neither_torch_nor_the_main_script():
    code = "import sys; import mbpo_fast.envs.worker; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
    # No `if __name__ == "__main__"`: a start method that runs the main script again would never end here.
    program = """
        from mbpo_fast.envs import make_vec
        vec = make_vec("Catch", 2, workers=1)
        print(vec.reset()[0].shape)
    """
    process = run_alone(program)
    out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err) == (0, "(2, 4, 36, 36)\n", "")


# The workers hold the program's standard output open: it ends when the last of them has.
@pytest.mark.parametrize("forked", [False, True])
def test_workers_do_not_outlive_a_killed_parent(forked):
    program = f"""
        import os, sys, time
        from mbpo_fast.envs import make_vec
        vec = make_vec("Catch", 4, workers=2)
        vec.reset()
        if {forked} and os.fork() == 0:
            # Like a data loader's worker: it keeps the parent's sockets open.
            os.closerange(1, 3)
            time.sleep(8)
            os._exit(0)
        print("ready", flush=True)
        time.sleep(60)
    """
    process = run_alone(program)
    assert process.stdout.readline() == "ready\n"
    process.kill()
    out, err = process.communicate(timeout=6)
    assert (process.returncode, out, err) == (-signal.SIGKILL, "", "")


def test_a_forked_child_does_not_stop_the_workers():
    vec = make_vec("Catch", 2, workers=1)
    vec.reset()
    child = os.fork()
    if child == 0:
        vec._group.close()
        os._exit(0)
    assert os.waitpid(child, 0)[1] == 0
    vec.step([0, 1])
    vec.close()
