package main

import (
	"bytes"
	"encoding/json"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"sidetone/cmd/sidetone/internal/config"
	"sidetone/internal/journal"
	"sidetone/internal/records"
	"sidetone/internal/store"
)

// verb runs a command line.
func verb(t *testing.T, args ...string) (string, error) {
	t.Helper()
	var out bytes.Buffer
	root := rootCmd()
	root.SetArgs(args)
	root.SetOut(&out)
	root.SetErr(&out)
	err := root.ExecuteContext(t.Context())
	return out.String(), err
}

// keepCalls fills the storage folder's database with two calls.
func keepCalls(t *testing.T, dir string) (first, second string) {
	t.Helper()
	db, err := store.Open(t.Context(), store.Config{URL: filepath.Join(dir, "sidetone.db")})
	if err != nil {
		t.Fatal(err)
	}
	defer db.Close()
	r, err := records.New(db, records.Config{})
	if err != nil {
		t.Fatal(err)
	}
	start := time.Date(2026, 3, 4, 5, 6, 7, 0, time.UTC)
	var keys []string
	for i, said := range []string{"my parcel is late", "I lost my credit cards"} {
		at := start.Add(time.Duration(i) * time.Hour)
		key := journal.Key(at, "abcdefg"+string(rune('a'+i)))
		keys = append(keys, key)
		var events []journal.Event
		add := func(kind journal.Kind, body any) {
			t.Helper()
			e, err := journal.New(key, uint64(len(events)+1), at, kind, body)
			if err != nil {
				t.Fatal(err)
			}
			events = append(events, e)
		}
		add(journal.CallStarted, journal.Started{Call: "c" + string(rune('1'+i)), Agent: "ann", Source: "rtp", Started: at})
		add(journal.LegChanged, journal.Leg{ID: "b", Role: "customer", RoleReason: "said so", Identity: "sip:+4312" + string(rune('0'+i)) + "@pbx"})
		add(journal.UtteranceFinal, journal.Final{Leg: "b", Role: "customer", Utterance: 1, StartMS: 4000, Text: said})
		add(journal.CardShown, journal.Card{ID: "k", Card: json.RawMessage(`{"id":"k","title":"Help"}`)})
		add(journal.CallEnded, journal.Ended{State: "ended", Reason: "BYE", At: at.Add(time.Minute)})
		add(journal.CallClosed, nil)
		if err = r.Apply(t.Context(), events); err != nil {
			t.Fatal(err)
		}
	}
	return keys[0], keys[1]
}

func TestCallsAndAuditVerbs(t *testing.T) {
	dir := t.TempDir()
	t.Setenv(config.EnvData, dir)
	first, second := keepCalls(t, dir)
	has := func(args string, want ...string) {
		t.Helper()
		out, err := verb(t, strings.Split(args, "|")...)
		if err != nil {
			t.Fatalf("%s: %v", args, err)
		}
		for _, w := range want {
			if not, no := strings.CutPrefix(w, "!"); strings.Contains(out, not) == no {
				t.Errorf("%s: want %q in\n%s", args, w, out)
			}
		}
	}
	fails := func(args, want string) {
		t.Helper()
		if _, err := verb(t, strings.Split(args, "|")...); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", args, err, want)
		}
	}
	has("calls|list", first, second, "1m0s", "0/1")
	has("calls|list|--limit|1", "!"+first, second, "--before 17")
	has("calls|list|--to|2026-03-04T06:00:00Z|--json", first, "!"+second, `"state": "ended"`)
	has("calls|search|lost|card", "!"+first, second, "customer: I lost my credit cards")
	has("calls|show|c1", "ann, from sip:+43120@pbx", "my parcel is late", "card Help: live", "ended after 1m0s: BYE")
	has("calls|show|--json|"+first, `"text": "my parcel is late"`)
	has("calls|show|--events|"+first, `"kind":"call.closed"`)
	fails("calls|show|nobody", "no such call")
	fails("calls|list|--from|yesterday", "write 2026-03-04")
	fails("calls|erase", "say which call")
	fails("calls|erase|c1", "say why")
	has("calls|erase|--customer|+43120|--reason|asked", "With --yes", first, "!"+second)
	has("calls|list", first)
	has("calls|erase|--customer|+43120|--reason|asked|--yes", "Erased 1 calls", first)
	has("calls|list", "!"+first, second)
	has("calls|erase|c2|--reason|asked|--yes|--json", second, `"done": true`)
	has("calls|list", "!"+second)
	has("audit|list", "customer.erased", "call.erased", "reason=asked", "call.read", "system:cli:")
	has("audit|list|--action|calls|--json", `"action": "calls.searched"`, "!call.read")
	has("audit|verify", "The audit log is whole: 7 entries")
	fails("audit|accept|--reason|x", "no breach")

	db, err := store.Open(t.Context(), store.Config{URL: filepath.Join(dir, "sidetone.db")})
	if err != nil {
		t.Fatal(err)
	}
	if _, err = db.Exec(t.Context(), `UPDATE audit SET detail = '{}' WHERE seq = 6`); err != nil {
		t.Fatal(err)
	}
	if err = db.Close(); err != nil {
		t.Fatal(err)
	}
	fails("audit|verify", "entry 6: the entry, or the hash before it, was changed")
	fails("audit|verify|--json", "entry 6")
}
