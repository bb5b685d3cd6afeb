"""`python tests/helpers/ray_cluster.py own|killed FOLDER`: a scan with Ray of a set of images, and what it left; as JSON.

A process of its own, since Ray leaves processes behind where it is stopped in the middle: whoever starts it ends its group.
"""

import json
import os
import sys
from pathlib import Path

if __name__ == "__main__":
    sys.path.insert(0, str(Path(__file__).parents[1]))  # its workers have it by PYTHONPATH

import layerscope as ls
from helpers.stores import contents, small_scan, write_images

LOOPBACK = "127.0.0.1"
NOT_STARTED = 75  # the exit code where Ray's own processes don't start within the 30 seconds that it gives them
SMALL = 80 << 20  # bytes of an object store: nothing of a scan lies there


def own(images, store):
    """A cluster of this scan alone, and where it listens."""
    told = {}

    def look(event):
        if event.what == "images" and event.done >= 8:
            import ray

            told["address"] = ray.get_runtime_context().gcs_address

    with ls.progress(look):
        small_scan(images, store, keep="maps", engine="ray", workers=2)
    return told


def killed(images, store):
    """A cluster of two nodes that runs already, of which one is killed after some units."""
    os.environ["RAY_USAGE_STATS_ENABLED"] = os.environ["RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER"] = "0"  # no network
    import ray

    cluster, other, told = *two_nodes(), {}

    def kill(event):
        if event.what == "images" and event.done >= 8 and not told:
            told["nodes"] = sum(node["Alive"] for node in ray.nodes())
            cluster.remove_node(other, allow_graceful=False)

    with ls.progress(kill):
        small_scan(images, store, keep="maps", engine="ray", address=cluster.address)
    cluster.shutdown()
    return told


def two_nodes():
    """The cluster and its second node."""
    from ray.cluster_utils import Cluster

    nodes = {"num_cpus": 1, "include_dashboard": False, "node_ip_address": LOOPBACK, "object_store_memory": SMALL}
    cluster = Cluster()
    try:
        cluster.add_node(**nodes)
        return cluster, cluster.add_node(**nodes)
    except Exception as error:  # Ray has no class for it
        print(error, file=sys.stderr)
        sys.exit(NOT_STARTED)


def main():
    folder = Path(sys.argv[2])
    images = write_images(folder / "images", 80)
    (images / "7.png").write_bytes(b"no image")
    small_scan(images, folder / "alone", keep="maps")
    try:
        told = {"own": own, "killed": killed}[sys.argv[1]](images, folder / "store")
    except ls.BadOption as error:
        print(error, file=sys.stderr)
        sys.exit(NOT_STARTED if "could be started" in str(error) else 1)
    print(json.dumps({**told, "same": contents(folder / "store") == contents(folder / "alone")}))


if __name__ == "__main__":
    main()
