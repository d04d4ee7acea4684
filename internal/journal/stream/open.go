package stream

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/nats-io/nats.go/jetstream"
)

// OpenCall is a call that a node has and that is not over.
type OpenCall struct {
	Key  string `json:"key"`
	Call string `json:"call"`
	// Source and External are what a fork that comes again is known by.
	Source   string    `json:"source,omitempty"`
	External string    `json:"external,omitempty"`
	Agent    string    `json:"agent,omitempty"`
	Node     string    `json:"node"`
	Started  time.Time `json:"started"`
	Seen     time.Time `json:"seen"`
	// revision is that which OpenCalls found.
	revision uint64
}

// NodeInfo is what a node tells of itself.
type NodeInfo struct {
	// URL is where the other nodes and the panes reach it.
	URL      string `json:"url,omitempty"`
	Draining bool   `json:"draining,omitempty"`
}

// Node is a node that lives.
type Node struct {
	NodeInfo
	Name  string    `json:"name"`
	Since time.Time `json:"since"`
	// Self tells processes of the same name apart.
	Self string `json:"self"`
}

// OpenCalls lists the calls that are open on any node, dead or alive, in the order
// of their keys.
func (l *Log) OpenCalls(ctx context.Context) ([]OpenCall, error) {
	var all []OpenCall
	err := l.entries(ctx, l.names.state, "open.*", func(e jetstream.KeyValueEntry) error {
		var o OpenCall
		if bad := json.Unmarshal(e.Value(), &o); bad != nil {
			return fmt.Errorf("%s: %w", e.Key(), bad)
		}
		o.revision = e.Revision()
		all = append(all, o)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("journal: open calls: %w", explain(err))
	}
	slices.SortFunc(all, func(a, b OpenCall) int { return strings.Compare(a.Key, b.Key) })
	return all, nil
}

// Orphans lists the open calls that nobody has: those of nodes that are not heard
// any more, and those that an earlier process of this node's name left behind. While
// the connection is younger than two leases the nodes that live cannot be told from
// the dead, as none could renew its lease while NATS was away: then only the latter
// are listed.
func (l *Log) Orphans(ctx context.Context) ([]OpenCall, error) {
	all, err := l.OpenCalls(ctx)
	if err != nil {
		return nil, err
	}
	alive, err := l.Nodes(ctx)
	if err != nil {
		return nil, err
	}
	l.mu.Lock()
	defer l.mu.Unlock()
	sure := !l.since.IsZero() && time.Since(l.since) > 2*l.cfg.Lease
	return slices.DeleteFunc(all, func(o OpenCall) bool {
		if o.Node == l.cfg.Node {
			_, held := l.held[o.Key]
			_, moving := l.lanes[o.Key]
			return held || moving
		}
		return !sure || slices.ContainsFunc(alive, func(n Node) bool { return n.Name == o.Node })
	}), nil
}

// Adopt gives a call that OpenCalls or Orphans returned to a node. Of all that try
// exactly one gets true; it is false also where the call has changed or is over
// since it was listed.
func (l *Log) Adopt(ctx context.Context, o OpenCall, node string) (bool, error) {
	kv, err := l.js.KeyValue(ctx, l.names.state)
	if err != nil {
		return false, fmt.Errorf("journal: adopting call %s: %w", o.Key, explain(err))
	}
	rev := o.revision
	o.Node, o.Seen = node, time.Now()
	b, err := json.Marshal(o)
	if err != nil {
		return false, fmt.Errorf("journal: adopting call %s: %w", o.Key, err)
	}
	rev, err = kv.Update(ctx, "open."+o.Key, b, rev)
	if lost(err) {
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("journal: adopting call %s: %w", o.Key, explain(err))
	}
	if node == l.cfg.Node {
		l.mu.Lock()
		l.held[o.Key] = rev
		l.mu.Unlock()
	}
	return true, nil
}

// lost says that somebody else was quicker.
func lost(err error) bool {
	api := new(jetstream.APIError)
	return errors.Is(err, jetstream.ErrKeyExists) || errors.As(err, &api) &&
		(api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence || api.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequenceConstant)
}

// entries calls fn for what a bucket holds under the keys. What is replaced while
// NATS lists it can be missing in its list; the subjects that the bucket has
// afterwards say what was, and that is asked for by itself.
func (l *Log) entries(ctx context.Context, bucket, keys string, fn func(jetstream.KeyValueEntry) error) error {
	kv, err := l.js.KeyValue(ctx, bucket)
	if err != nil {
		return err
	}
	// What is replaced while NATS lists comes twice: the newest counts.
	newest := map[string]jetstream.KeyValueEntry{}
	take := func(e jetstream.KeyValueEntry) error {
		if old := newest[e.Key()]; old == nil || old.Revision() < e.Revision() {
			newest[e.Key()] = e
		}
		return nil
	}
	if err = list(ctx, kv, keys, take); err != nil {
		return err
	}
	s, err := l.js.Stream(ctx, "KV_"+bucket)
	if err != nil {
		return err
	}
	prefix := "$KV." + bucket + "."
	info, err := s.Info(ctx, jetstream.WithSubjectFilter(prefix+keys))
	if err != nil {
		return err
	}
	for subject := range info.State.Subjects {
		key := strings.TrimPrefix(subject, prefix)
		if newest[key] != nil {
			continue
		}
		e, err := kv.Get(ctx, key)
		if errors.Is(err, jetstream.ErrKeyNotFound) {
			continue
		}
		if err != nil {
			return err
		}
		newest[key] = e
	}
	for _, e := range newest {
		if e.Operation() != jetstream.KeyValuePut {
			continue
		}
		if err := fn(e); err != nil {
			return err
		}
	}
	return nil
}

// list calls fn with the entries that NATS lists, ends of entries too.
func list(ctx context.Context, kv jetstream.KeyValue, keys string, fn func(jetstream.KeyValueEntry) error) (err error) {
	w, err := kv.Watch(ctx, keys)
	if err != nil {
		return err
	}
	defer func() {
		err = errors.Join(err, w.Stop())
		// What still came must not keep its sender waiting; the channel is closed then.
		for range w.Updates() {
			continue
		}
	}()
	for {
		select {
		case e, ok := <-w.Updates():
			switch {
			case !ok:
				return errors.New("the connection was lost on the way")
			case e == nil:
				return nil
			}
			if err := fn(e); err != nil {
				return err
			}
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// Announce says what the other nodes are to know of this one.
func (l *Log) Announce(info NodeInfo) {
	l.mu.Lock()
	l.info = info
	l.mu.Unlock()
	l.signal(l.beat)
}

// Nodes lists the nodes that live, this one too, by name.
func (l *Log) Nodes(ctx context.Context) ([]Node, error) {
	var all []Node
	err := l.entries(ctx, l.names.leases, "node.*", func(e jetstream.KeyValueEntry) error {
		var n Node
		if bad := json.Unmarshal(e.Value(), &n); bad != nil {
			return fmt.Errorf("%s: %w", e.Key(), bad)
		}
		all = append(all, n)
		return nil
	})
	if err != nil {
		return nil, fmt.Errorf("journal: nodes: %w", explain(err))
	}
	slices.SortFunc(all, func(a, b Node) int { return strings.Compare(a.Name, b.Name) })
	return all, nil
}

// tend renews this node's lease.
func (l *Log) tend() {
	defer l.wg.Done()
	tick := time.NewTicker(l.cfg.Lease / 3)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			l.renew()
		case <-l.beat:
			l.renew()
		case <-l.ctx.Done():
			l.resign()
			return
		}
	}
}

// renew renews the lease. A failure needs no word: the pump has the same one, and
// the next beat comes soon.
func (l *Log) renew() {
	ctx, cancel := context.WithTimeout(l.ctx, l.cfg.Lease/3)
	defer cancel()
	l.mu.Lock()
	n := Node{NodeInfo: l.info, Name: l.cfg.Node, Since: l.started.UTC(), Self: l.self}
	l.mu.Unlock()
	b, err := json.Marshal(n)
	if err != nil {
		return
	}
	kv, err := l.js.KeyValue(ctx, l.names.leases)
	if err != nil {
		return
	}
	l.twin(ctx, kv)
	if _, err := kv.Put(ctx, "node."+l.cfg.Node, b); err != nil {
		l.cfg.Log.Debug("journal: the node's lease", "err", err)
	}
}

// twin tells when another process of this name beats, and does so still long after
// this one began: an earlier one cannot.
func (l *Log) twin(ctx context.Context, kv jetstream.KeyValue) {
	if time.Since(l.started) < 2*l.cfg.Lease {
		return
	}
	e, err := kv.Get(ctx, "node."+l.cfg.Node)
	if err != nil {
		return
	}
	var n Node
	if json.Unmarshal(e.Value(), &n) != nil || n.Self == l.self {
		return
	}
	err = fmt.Errorf("another process is called %s, too, since %v: they take each other's calls; give one another name", n.Name, n.Since)
	l.mu.Lock()
	l.trouble(err, time.Now())
	l.mu.Unlock()
	l.cfg.Log.Error("journal: two nodes of one name", "err", err)
}

// resign gives the lease back, so that others see at once that the node has gone.
func (l *Log) resign() {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(l.ctx), time.Second)
	defer cancel()
	kv, err := l.js.KeyValue(ctx, l.names.leases)
	if err == nil {
		err = kv.Purge(ctx, "node."+l.cfg.Node)
	}
	if err != nil {
		l.cfg.Log.Debug("journal: giving the node's lease back", "err", err)
	}
}

// mender repairs what the pump found broken, less and less often where that does
// not help.
func (l *Log) mender() {
	defer l.wg.Done()
	pause := time.Second
	for {
		select {
		case <-l.mend:
		case <-l.ctx.Done():
			return
		}
		tried, err := l.repair()
		if err != nil && l.ctx.Err() == nil {
			l.mu.Lock()
			l.trouble(err, time.Now())
			l.mu.Unlock()
		}
		if tried {
			pause = min(2*pause, 30*time.Second)
		} else {
			pause = time.Second
		}
		select {
		case <-time.After(pause):
		case <-l.ctx.Done():
			return
		}
	}
}

// repair starts the embedded server again where a full disk has stopped it, and
// makes again what is missing.
func (l *Log) repair() (revived bool, err error) {
	ctx, cancel := context.WithTimeout(l.ctx, l.cfg.ackWait)
	defer cancel()
	if l.srv != nil {
		if revived, err = l.srv.revive(); err != nil {
			return revived, err
		}
	}
	if !l.nc.IsConnected() {
		return revived, nil
	}
	return revived, l.make(ctx, false)
}
