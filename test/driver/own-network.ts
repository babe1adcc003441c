// Imported before the test bed, whose paths come from it: guests of this process are in a network of their own, beside a
// cluster that may be running.
process.env.AOE_CSI_CLUSTER = `driver-${process.pid}`;
