package app

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strconv"
	"strings"

	"sidetone/cmd/sidetone/internal/config"
	"sidetone/internal/audit"
	"sidetone/internal/records"
	"sidetone/internal/store"
)

// Kept is the database of what is kept, opened beside a server that may run.
type Kept struct {
	Records *records.Records
	Audit   *audit.Log
	store   *store.DB
}

// OpenKept opens the configured database; close it.
func OpenKept(ctx context.Context, cfg *config.Config, log *slog.Logger) (*Kept, error) {
	dir, err := cfg.Storage.Path()
	if err != nil {
		return nil, err
	}
	if err = os.MkdirAll(dir, 0o700); err != nil {
		return nil, fmt.Errorf("storage.dir: %w", err)
	}
	node, err := cfg.NodeName()
	if err != nil {
		return nil, err
	}
	k := &Kept{}
	if k.store, err = store.Open(ctx, store.Config{URL: recordsURL(cfg, dir), Log: log}); err != nil {
		return nil, fmt.Errorf("storage.records: %w", err)
	}
	if k.Audit, err = openAudit(ctx, k.store, cfg.Storage.KeysIn(dir), node, log); err == nil {
		k.Records, err = records.New(k.store, records.Config{Log: log})
	}
	if err != nil {
		return nil, errors.Join(err, k.store.Close())
	}
	return k, nil
}

// Close implements io.Closer.
func (k *Kept) Close() error { return k.store.Close() }

// Erase erases a customer, or one call, from all that is kept, while no server
// uses it. A running server does so itself: POST /v1/erase.
func Erase(ctx context.Context, cfg *config.Config, log *slog.Logger, actor, customer, call, reason string) (keys []string, err error) {
	s, err := openStorage(cfg, log)
	defer func() { err = errors.Join(err, s.close(context.WithoutCancel(ctx))) }()
	if err != nil {
		return nil, err
	}
	what := "customer.erased"
	if call != "" {
		what = "call.erased"
		c, unknown := s.records.Call(ctx, call)
		if unknown != nil {
			return nil, unknown
		}
		keys = []string{c.Key}
	} else if keys, err = s.records.CallsOf(ctx, customer); err != nil {
		return nil, err
	}
	if err = s.erase(ctx, keys); err != nil {
		return nil, err
	}
	return keys, s.audit.Append(ctx, audit.Entry{Actor: actor, Action: what, Detail: map[string]string{
		"reason": reason, "calls": strings.Join(keys[:min(len(keys), 100)], ","), "count": strconv.Itoa(len(keys)),
	}})
}
