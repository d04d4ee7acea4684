// Package leaktest makes a test binary fail when goroutines outlive its tests.
package leaktest

import "go.uber.org/goleak"

// BleveWorker runs in goroutines that bleve starts when the program starts,
// whether or not anything is indexed.
const BleveWorker = "github.com/blevesearch/bleve_index_api.AnalysisWorker"

// Main runs the tests and then checks for leaked goroutines; call it from
// TestMain with its *testing.M, or with what wraps it. Goroutines that run one of
// the known functions are let be.
func Main(m interface{ Run() int }, known ...string) {
	var opts []goleak.Option
	for _, fn := range known {
		opts = append(opts, goleak.IgnoreAnyFunction(fn))
	}
	goleak.VerifyTestMain(m, opts...)
}
