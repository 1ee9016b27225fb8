import subprocess
import sys

IN_A_THREAD = """
import threading

def connect():
    import ryu_apps.ovsdb.connection

thread = threading.Thread(target=connect, daemon=True)
thread.start()
thread.join(60)
print("ended" if not thread.is_alive() else "was never joined")
"""


def test_the_thread_that_first_connects_to_a_database_can_be_joined() -> None:
    said = subprocess.run(
        [sys.executable, "-c", IN_A_THREAD], capture_output=True, text=True, timeout=120, check=True
    )
    assert said.stdout.strip() == "ended"
