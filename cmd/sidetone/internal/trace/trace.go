// Package trace shows calls in a trace collector: OpenTelemetry over OTLP/HTTP.
//
// Spans are made out of a call's journal when the call is over, so that nothing
// is done for them on the path of the audio. They hold times, roles and figures;
// no words, no names and no addresses. Only the calls that were asked for are
// followed, and a share of the others.
package trace

import (
	"context"
	"crypto/rand"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"sidetone/internal/journal"
)

const (
	// maxCalls bounds the calls that are followed at once.
	maxCalls = 1000
	// waiting is how many calls that are over may wait to become spans.
	waiting = 64
	// exportLimit is when a collector that does not answer is given up.
	exportLimit = 10 * time.Second
	// logEvery is how often failures are logged.
	logEvery = time.Minute
)

// Config says where traces go.
type Config struct {
	// Endpoint is the collector's address, such as http://127.0.0.1:4318; a path
	// is used as it stands, else it is /v1/traces.
	Endpoint string
	// Ratio is the share of calls that are followed though nobody asked, 0 to 1.
	Ratio float64
	// Version and Node are told with each trace.
	Version, Node string
	Log           *slog.Logger
}

// Ask is what a request for a call says of its trace.
type Ask struct {
	// Demanded has the call followed.
	Demanded bool
	// Parent is the W3C traceparent header; one that is sampled has the call
	// followed as a part of the caller's trace. What cannot be read is ignored,
	// as the specification wants it.
	Parent string
}

// Tracer follows calls. All methods are safe for concurrent use; those of a nil
// Tracer do nothing.
type Tracer struct {
	cfg      Config
	provider *sdk.TracerProvider
	tracer   trace.Tracer
	exporter *counting

	mu     sync.Mutex
	closed bool
	calls  map[string]*followed
	over   chan *followed
	done   chan struct{}
	// dropped are calls that were over while too many others waited.
	dropped atomic.Int64
}

// followed is a call that is being traced.
type followed struct {
	builder Builder
	id      trace.TraceID
	parent  trace.SpanContext
	broken  bool
}

// New checks the configuration; the collector is asked for only when there are
// spans.
func New(c Config) (*Tracer, error) {
	u, err := url.Parse(c.Endpoint)
	switch {
	case err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https":
		return nil, fmt.Errorf("tracing.endpoint: %q is no address such as http://127.0.0.1:4318", c.Endpoint)
	case !(c.Ratio >= 0 && c.Ratio <= 1):
		return nil, fmt.Errorf("tracing.ratio: %v; want 0 to 1", c.Ratio)
	case c.Log == nil:
		return nil, errors.New("trace: Log is missing")
	}
	if strings.Trim(u.Path, "/") == "" {
		u.Path = "/v1/traces"
	}
	client, err := otlptracehttp.New(context.Background(), otlptracehttp.WithEndpointURL(u.String()), otlptracehttp.WithTimeout(exportLimit))
	if err != nil {
		return nil, fmt.Errorf("tracing.endpoint: %w", err)
	}
	t := &Tracer{
		cfg: c, exporter: &counting{SpanExporter: client, log: c.Log}, calls: map[string]*followed{},
		over: make(chan *followed, waiting), done: make(chan struct{}),
	}
	about := resource.NewSchemaless(attribute.String("service.name", "sidetone"), attribute.String("service.version", c.Version),
		attribute.String("service.instance.id", c.Node))
	t.provider = sdk.NewTracerProvider(sdk.WithBatcher(t.exporter, sdk.WithMaxQueueSize(maxSpans), sdk.WithExportTimeout(exportLimit)),
		sdk.WithResource(about), sdk.WithSampler(sdk.AlwaysSample()), sdk.WithIDGenerator(ids{}))
	t.tracer = t.provider.Tracer("sidetone")
	go func() {
		defer close(t.done)
		for f := range t.over {
			t.emit(f)
		}
	}()
	return t, nil
}

// Begin decides whether the call with the key is followed, and returns the ID of
// its trace, in hexadecimal; empty: it is not. It comes before the call's first
// event.
func (t *Tracer) Begin(key string, a Ask) string {
	if t == nil {
		return ""
	}
	parent, ok := parseParent(a.Parent)
	if !a.Demanded && !(ok && parent.IsSampled()) && !chosen(t.cfg.Ratio) {
		return ""
	}
	f := &followed{id: newTraceID()}
	if ok {
		f.parent, f.id = parent, parent.TraceID()
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	if t.closed || len(t.calls) >= maxCalls {
		t.dropped.Add(1)
		return ""
	}
	t.calls[key] = f
	return f.id.String()
}

// Event tells what happened to a call. It does next to nothing for those that are
// not followed, and never waits.
func (t *Tracer) Event(e journal.Event) {
	if t == nil {
		return
	}
	t.mu.Lock()
	defer t.mu.Unlock()
	f := t.calls[e.Key]
	if f == nil || t.closed {
		return
	}
	if err := f.builder.Add(e); err != nil && !f.broken {
		f.broken = true
		t.cfg.Log.Warn("an event is missing in a trace", "event", e.ID(), "kind", e.Kind, "error", err)
	}
	if e.Kind == journal.CallClosed {
		delete(t.calls, e.Key)
		select {
		case t.over <- f:
		default:
			t.dropped.Add(1)
		}
	}
}

// emit hands a call's spans to the exporter's queue.
func (t *Tracer) emit(f *followed) {
	spans := f.builder.Spans()
	contexts := make([]context.Context, len(spans))
	for i, s := range spans {
		ctx := context.WithValue(context.Background(), traceKey{}, f.id)
		switch {
		case s.Parent >= 0:
			ctx = contexts[s.Parent]
		case f.parent.IsValid():
			ctx = trace.ContextWithRemoteSpanContext(ctx, f.parent)
		}
		var span trace.Span
		contexts[i], span = t.tracer.Start(ctx, s.Name, trace.WithTimestamp(s.Start), trace.WithAttributes(attributes(s.Attributes)...))
		for _, m := range s.Moments {
			span.AddEvent(m.Name, trace.WithTimestamp(m.At))
		}
		if s.Failed != "" {
			span.SetStatus(codes.Error, s.Failed)
		}
		span.End(trace.WithTimestamp(s.End))
	}
}

func attributes(in []Attribute) []attribute.KeyValue {
	out := make([]attribute.KeyValue, 0, len(in))
	for _, a := range in {
		switch v := a.Value.(type) {
		case string:
			if v != "" {
				out = append(out, attribute.String(a.Key, v))
			}
		case bool:
			out = append(out, attribute.Bool(a.Key, v))
		case int64:
			out = append(out, attribute.Int64(a.Key, v))
		case float64:
			out = append(out, attribute.Float64(a.Key, v))
		}
	}
	return out
}

// Stats is what became of traces.
type Stats struct {
	// Exported spans arrived at the collector, Failed ones did not. Dropped calls
	// were not followed because there were too many.
	Exported, Failed, Dropped int64
}

// Stats counts since New.
func (t *Tracer) Stats() Stats {
	if t == nil {
		return Stats{}
	}
	return Stats{t.exporter.exported.Load(), t.exporter.failed.Load(), t.dropped.Load()}
}

// Close sends what there is, calls that still run included, until ctx ends.
// Idempotent.
func (t *Tracer) Close(ctx context.Context) error {
	if t == nil {
		return nil
	}
	t.mu.Lock()
	closed := t.closed
	t.closed = true
	rest := t.calls
	t.calls = nil
	if !closed {
		close(t.over)
	}
	t.mu.Unlock()
	<-t.done
	for _, f := range rest {
		t.emit(f)
	}
	if err := t.provider.Shutdown(ctx); err != nil {
		return fmt.Errorf("trace: %w", err)
	}
	return nil
}

// parseParent reads a traceparent header (W3C Trace Context, 3.2):
//
//	00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01
//	version, trace ID, parent's span ID, flags
func parseParent(s string) (trace.SpanContext, bool) {
	parts := strings.Split(strings.TrimSpace(s), "-")
	if len(parts) < 4 || len(parts[0]) != 2 || len(parts[3]) != 2 || parts[0] == "ff" || parts[0] == "00" && len(parts) != 4 || s != strings.ToLower(s) {
		return trace.SpanContext{}, false
	}
	if _, err := hex.DecodeString(parts[0]); err != nil {
		return trace.SpanContext{}, false
	}
	id, err := trace.TraceIDFromHex(parts[1])
	if err != nil {
		return trace.SpanContext{}, false
	}
	span, err := trace.SpanIDFromHex(parts[2])
	if err != nil {
		return trace.SpanContext{}, false
	}
	flags, err := hex.DecodeString(parts[3])
	if err != nil {
		return trace.SpanContext{}, false
	}
	c := trace.NewSpanContext(trace.SpanContextConfig{TraceID: id, SpanID: span, TraceFlags: trace.TraceFlags(flags[0]), Remote: true})
	return c, c.IsValid()
}

// chosen draws with the probability p.
func chosen(p float64) bool {
	var b [8]byte
	_, _ = rand.Read(b[:]) // it cannot fail (crypto/rand)
	return float64(binary.BigEndian.Uint64(b[:])>>11)/(1<<53) < p
}

func newTraceID() (id trace.TraceID) {
	for !id.IsValid() {
		_, _ = rand.Read(id[:])
	}
	return id
}

// traceKey is the context's key of the trace ID for a trace's root.
type traceKey struct{}

// ids gives a root the trace ID that Begin has told.
type ids struct{}

func (ids) NewIDs(ctx context.Context) (trace.TraceID, trace.SpanID) {
	id, ok := ctx.Value(traceKey{}).(trace.TraceID)
	if !ok {
		id = newTraceID()
	}
	return id, ids{}.NewSpanID(ctx, id)
}

func (ids) NewSpanID(context.Context, trace.TraceID) (id trace.SpanID) {
	for !id.IsValid() {
		_, _ = rand.Read(id[:])
	}
	return id
}

// counting counts what an exporter does, and keeps its errors from the
// library's global handler.
type counting struct {
	sdk.SpanExporter
	log              *slog.Logger
	exported, failed atomic.Int64
	// logged is when a failure was last logged, in Unix nanoseconds.
	logged atomic.Int64
}

// ExportSpans implements sdk.SpanExporter.
func (c *counting) ExportSpans(ctx context.Context, spans []sdk.ReadOnlySpan) error {
	err := c.SpanExporter.ExportSpans(ctx, spans)
	if err == nil {
		c.exported.Add(int64(len(spans)))
		return nil
	}
	c.failed.Add(int64(len(spans)))
	if now := time.Now().UnixNano(); now-c.logged.Load() >= int64(logEvery) {
		c.logged.Store(now)
		c.log.Warn("the trace collector did not take spans", "spans", len(spans), "failed_so_far", c.failed.Load(), "error", err)
	}
	return nil
}
