"""`python tests/helpers/ray_cluster.py own|killed FOLDER`: a scan with Ray of a set of images, and what it left; as JSON.

A process of its own, since Ray leaves processes behind where it is stopped in the middle: whoever starts it ends its group.
"""

import json
import os
import sys
import time
from pathlib import Path

os.environ["RAY_USAGE_STATS_ENABLED"] = "0"
TESTS = str(Path(__file__).parents[1])
sys.path.insert(0, TESTS)
os.environ["PYTHONPATH"] = os.pathsep.join([TESTS, *filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))])

import ray  # noqa: E402

import layerscope as ls  # noqa: E402
from helpers.stores import contents, small_scan, write_images  # noqa: E402

LOOPBACK = "127.0.0.1"
# A lost node is known after two seconds, and nobody waits longer for it; Ray's own figures are for networks that fail.
SOON = {
    "health_check_initial_delay_ms": 0,
    "health_check_period_ms": 500,
    "health_check_failure_threshold": 3,
    "raylet_rpc_server_reconnect_timeout_base_s": 1,
    "raylet_rpc_server_reconnect_timeout_max_s": 2,
}
SMALL = 80 << 20  # bytes of an object store: nothing of a scan lies there


def own(images, store):
    """A cluster of this scan alone."""
    small_scan(images, store, keep="maps", engine="ray", workers=2)
    return {}


def killed(images, store):
    """A cluster of two nodes, of which one is killed after some units."""
    from ray.cluster_utils import Cluster

    told, begun = {}, time.monotonic()
    nodes = {"num_cpus": 1, "include_dashboard": False, "node_ip_address": LOOPBACK, "object_store_memory": SMALL}
    cluster = Cluster()
    cluster.add_node(**nodes, _system_config=SOON)
    other = cluster.add_node(**nodes)
    told["started"] = time.monotonic() - begun

    def kill(event):
        if event.what == "images" and event.done >= 8 and "killed" not in told:
            told["killed"] = time.monotonic() - begun
            told["nodes"] = sum(node["Alive"] for node in ray.nodes())
            cluster.remove_node(other, allow_graceful=False)

    with ls.progress(kill):
        small_scan(images, store, keep="maps", engine="ray", address=cluster.address)
    told["ended"] = time.monotonic() - begun
    cluster.shutdown()
    return told


def main():
    folder = Path(sys.argv[2])
    images = write_images(folder / "images", 80)
    (images / "7.png").write_bytes(b"no image")
    small_scan(images, folder / "alone", keep="maps")
    told = {"own": own, "killed": killed}[sys.argv[1]](images, folder / "store")
    print(json.dumps({**told, "same": contents(folder / "store") == contents(folder / "alone")}))


if __name__ == "__main__":
    main()
