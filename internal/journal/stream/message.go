package stream

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"sidetone/internal/journal"
)

// eventsMessage makes the message of events of one call, a line of JSON each, and
// says how many of them it holds: those before one that cannot be written. The
// error is about the first.
func eventsMessage(prefix string, items []item) (*nats.Msg, int, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false)
	count := 0
	for i := range items {
		if err := enc.Encode(&items[i].event); err != nil {
			if i == 0 {
				return nil, 1, fmt.Errorf("%s: %w", items[i].event.Kind, err)
			}
			break
		}
		count++
	}
	m := &nats.Msg{Subject: prefix + items[0].event.Key, Header: nats.Header{}, Data: b.Bytes()}
	m.Header.Set(jetstream.MsgIDHeader, items[0].event.ID())
	return m, count, nil
}

// readEvents reads a message of events; there is at least one.
func readEvents(b []byte) ([]journal.Event, error) {
	var events []journal.Event
	for line := range bytes.Lines(b) {
		var e journal.Event
		if err := json.Unmarshal(line, &e); err != nil {
			return nil, fmt.Errorf("journal: a message of the stream: %w: %w", journal.ErrBroken, err)
		}
		events = append(events, e)
	}
	if len(events) == 0 {
		return nil, fmt.Errorf("journal: a message of the stream is empty: %w", journal.ErrBroken)
	}
	return events, nil
}

// holdMessage makes the entry of an open call, to replace revision rev; 0 is none.
// What the headers mean: NATS ADR-8 (key-value store).
func holdMessage(subject string, o *OpenCall, rev uint64) (*nats.Msg, error) {
	b, err := json.Marshal(o)
	if err != nil {
		return nil, fmt.Errorf("journal: open call %s: %w", o.Key, err)
	}
	m := &nats.Msg{Subject: subject, Header: nats.Header{}, Data: b}
	m.Header.Set(jetstream.ExpectedLastSubjSeqHeader, strconv.FormatUint(rev, 10))
	return m, nil
}

// dropMessage ends that entry; what marks its end lasts for an hour.
func dropMessage(subject string, rev uint64) *nats.Msg {
	m := &nats.Msg{Subject: subject, Header: nats.Header{}}
	m.Header.Set("KV-Operation", "PURGE")
	m.Header.Set(jetstream.MsgRollup, jetstream.MsgRollupSubject)
	m.Header.Set(jetstream.MsgTTLHeader, "1h")
	m.Header.Set(jetstream.ExpectedLastSubjSeqHeader, strconv.FormatUint(rev, 10))
	return m
}
