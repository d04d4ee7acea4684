package ledger_test

import (
	"testing"

	"sidetone/internal/store/storetest"
)

func TestMain(m *testing.M) { storetest.Main(m) }
