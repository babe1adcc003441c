//go:build tools

// Package tools pins Prometheus, which a test lets read the metrics of the test bed.
package tools

import (
	_ "github.com/prometheus/prometheus/cmd/prometheus"
	_ "github.com/prometheus/prometheus/cmd/promtool"
)
