// Imported before the test bed, which takes its paths from this variable. The guests of this process get a network of their own,
// beside a cluster that may be running.
process.env.AOE_CSI_CLUSTER = `driver-${process.pid}`;
