"""Looking at the stacks of other threads."""

import subprocess
import sys

# Frames of many sizes, so that what lies where one was is seldom another; a collection in most steps of the walk, in which the
# other thread goes on.
WALK = """
import gc, threading, time
from layerscope.backends.common import run

class Cycle:
    def __init__(self):
        self.itself = self
    def __del__(self):
        time.sleep(1e-5)

functions = []
for size in range(12):
    variables = "".join(f"    v{index} = {{}}\\n" for index in range(size))
    body = f"    return functions[(depth * {size + 2} + 3) % 12](depth - 1) if depth else 0\\n"
    exec(f"def function{size}(depth):\\n{variables}{body}")
    functions.append(locals()[f"function{size}"])

ended = threading.Event()
def work():
    depth = 0
    while not ended.is_set():
        functions[depth % 12](depth % 41)
        depth += 1

class Codes(frozenset):
    def __contains__(self, code):
        Cycle()  # the next object to be created collects it
        return False

thread = threading.Thread(target=work)
thread.start()
gc.set_threshold(1)
try:
    run.others_inside("/nowhere", codes=Codes())
    assert gc.isenabled() and gc.get_threshold()[0] == 1, gc.get_threshold()
finally:
    ended.set()
    thread.join()
"""


def test_stacks_of_other_threads_are_walked_while_they_run():
    ended = subprocess.run([sys.executable, "-c", WALK], capture_output=True, text=True, timeout=120)
    assert ended.returncode == 0, ended.stderr
