"""Classes that a cluster file may name, as other packages have them."""

from distributed import LocalCluster


class GrowsWithoutAPolicy(LocalCluster):
    """Processes of this machine, with the `adapt` of dask-kubernetes: two limits and nothing else."""

    def adapt(self, minimum=None, maximum=None):
        raise AssertionError("its own policy would not see the ranks that wait")
