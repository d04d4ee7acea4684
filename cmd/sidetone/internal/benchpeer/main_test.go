package benchpeer

import (
	"context"
	"fmt"
	"os"
	"testing"

	"sidetone/internal/leaktest"
)

// TestMain lets the test program be its own child.
func TestMain(m *testing.M) {
	switch os.Getenv("SIDETONE_TEST_PEER") {
	case "":
		leaktest.Main(m)
	case "broken":
		fmt.Fprintln(os.Stderr, "no weights")
		os.Exit(3)
	default:
		err := Serve(context.Background(), os.Stdin, os.Stdout, "child", func(_ context.Context, x []int16, q Request) (Answer, error) {
			return Answer{Text: fmt.Sprint(len(x)), Tokens: max(10-q.MaxTokens, 1)}, nil
		})
		if err != nil {
			os.Exit(1)
		}
	}
}
