package benchload

import (
	"cmp"
	"slices"
	"strings"
	"sync"
	"time"

	"sidetone/bench/load"
	"sidetone/bench/wer"
)

// ledger keeps what happens in a run, in bounded memory.
type ledger struct {
	begun time.Time
	norm  *wer.Normaliser

	mu        sync.Mutex
	latencies map[string]*load.Latencies
	calls     load.CallCounts
	cards     load.CardCounts
	packets   load.PacketCounts
	words     map[string]*tally
	events    map[string]int
	problems  map[string]int
	running   int
	played    time.Duration
}

// tally adds up the words of one recording's calls.
type tally struct {
	calls           int
	agent, customer wer.Counts
	best, worst     float64
}

// maxProblems bounds the texts of problems that are kept.
const maxProblems = 200

func newLedger(begun time.Time) *ledger {
	return &ledger{
		begun: begun, norm: wer.New(), latencies: map[string]*load.Latencies{}, words: map[string]*tally{},
		events: map[string]int{}, problems: map[string]int{}, calls: load.CallCounts{States: map[string]int{}},
	}
}

// latency implements sink.
func (l *ledger) latency(kind string, at time.Time, d time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	k := l.latencies[kind]
	if k == nil {
		k = &load.Latencies{}
		l.latencies[kind] = k
	}
	k.Add(at.Sub(l.begun), d)
}

// paneLost implements sink.
func (l *ledger) paneLost(_ string, err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.calls.PaneLosses++
	l.problem(load.Error, "pane: "+err.Error())
}

// trouble notes an event and what it was.
func (l *ledger) trouble(event, text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.problem(event, text)
}

// problem is trouble; the caller holds mu.
func (l *ledger) problem(event, text string) {
	if event != "" {
		l.events[event]++
	}
	text = text[:min(len(text), 300)]
	if _, known := l.problems[text]; known || len(l.problems) < maxProblems {
		l.problems[text]++
	} else {
		l.problems["further problems"]++
	}
}

func (l *ledger) refused(err error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.calls.Refused++
	l.problem(load.Refusal, err.Error())
}

func (l *ledger) opened() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.calls.Opened++
	l.running++
	l.calls.AtOnce = max(l.calls.AtOnce, l.running)
}

// over notes that a call is over, after so much of its audio.
func (l *ledger) over(played time.Duration) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.running--
	l.played += played
}

// ended notes a call's end state; whole says that it was played to its end.
func (l *ledger) ended(state string, whole bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.calls.States[state]++
	if whole {
		l.calls.Whole++
	} else {
		l.calls.Cut++
	}
}

func (l *ledger) notOnce(text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.calls.NotOnce++
	l.problem(load.Error, "end state: "+text)
}

// carried notes what became of a call's packets.
func (l *ledger) carried(sent, keptBack int, r *load.Record) {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := &l.packets
	received := 0
	for _, leg := range r.Legs {
		if leg.Stats == nil {
			continue
		}
		received += leg.Stats.Received
		p.Lost += leg.Stats.Lost
		p.Late += leg.Stats.Late
		p.Concealed += leg.Stats.Concealed
		p.Dropped += leg.Stats.Dropped
		l.events[load.DroppedFrame] += leg.Stats.Dropped
	}
	p.Sent += sent
	p.KeptBack += keptBack
	p.Received += received
	vanished := max(sent-received, 0)
	p.Vanished += vanished
	l.events[load.LostPacket] += vanished
}

// verified notes what was found out about a call.
func (l *ledger) verified(s *load.Script, r *load.Record, f *load.Finding) {
	l.mu.Lock()
	defer l.mu.Unlock()
	t := l.words[s.Name]
	rate := f.Words().Percent()
	if t == nil {
		t = &tally{best: rate, worst: rate}
		l.words[s.Name] = t
	}
	t.calls++
	t.agent.Add(f.Agent)
	t.customer.Add(f.Customer)
	t.best, t.worst = min(t.best, rate), max(t.worst, rate)
	l.calls.LostTurns += len(f.LostTurns)
	for _, turn := range f.LostTurns {
		l.problem(load.LostTurn, "nothing recognised: "+s.Name+", "+turn)
	}
	l.cards.Shown += len(r.Cards)
	l.cards.Unpainted += f.Unpainted
	if !s.Cards {
		return
	}
	l.cards.Judged++
	l.cards.Expected += f.Expected
	l.cards.Missing += len(f.Missing)
	l.cards.Wrong += len(f.Wrong)
	for _, c := range f.Missing {
		l.problem(load.MissingCard, "no card: "+s.Name+", "+c)
	}
	for _, c := range f.Wrong {
		l.problem(load.WrongCard, "a card that nothing called for: "+s.Name+", "+c)
	}
}

// counted is a reading of the events.
func (l *ledger) counted() map[string]int {
	l.mu.Lock()
	defer l.mu.Unlock()
	out := make(map[string]int, len(l.events))
	for k, n := range l.events {
		out[k] = n
	}
	return out
}

// figures are what a service level is compared with, of a part of the run.
func (l *ledger) figures(from, to time.Duration, before map[string]int) load.Figures {
	l.mu.Lock()
	defer l.mu.Unlock()
	f := load.Figures{Latencies: map[string]*load.Sketch{}, Events: map[string]int{}}
	for k, x := range l.latencies {
		f.Latencies[k] = x.Between(from, to)
	}
	for k, n := range l.events {
		f.Events[k] = n - before[k]
	}
	return f
}

// named says what each latency is.
func named(kind string) string {
	switch kind {
	case load.CardLatency:
		return "end of the last triggering word to the painted card"
	case load.StableLatency:
		return "end of a word until the pane has it for good"
	case load.FinalLatency:
		return "end of an utterance's speech to its final on the pane"
	case turnLatency:
		return "end of a turn's speech by the script to its final on the pane, by our clock alone"
	default:
		return ""
	}
}

func kinds() []string {
	return []string{load.CardLatency, load.FinalLatency, turnLatency, load.StableLatency}
}

// latencyFigures sums up the latencies of a part of the run.
func latencyFigures(f load.Figures) []load.LatencyFigure {
	var out []load.LatencyFigure
	for _, k := range kinds() {
		if s := f.Latencies[k]; s != nil {
			out = append(out, load.LatencyFigure{Name: k, What: named(k), Spread: s.Spread()})
		}
	}
	return out
}

// fill puts what was counted into the result.
func (l *ledger) fill(r *load.Result) {
	l.mu.Lock()
	defer l.mu.Unlock()
	r.Calls, r.Cards, r.Packets = l.calls, l.cards, l.packets
	r.Calls.Minutes = l.played.Minutes()
	for name, t := range l.words {
		both := t.agent
		both.Add(t.customer)
		r.Words = append(r.Words, load.WordFigure{
			Name: name, Calls: t.calls, Agent: t.agent.Percent(), Customer: t.customer.Percent(),
			Both: both.Percent(), Best: t.best, Worst: t.worst,
		})
	}
	slices.SortFunc(r.Words, func(a, b load.WordFigure) int { return strings.Compare(a.Name, b.Name) })
	for text, n := range l.problems {
		r.Problems = append(r.Problems, load.Problem{Text: text, Count: n})
	}
	slices.SortFunc(r.Problems, func(a, b load.Problem) int {
		return cmp.Or(cmp.Compare(b.Count, a.Count), strings.Compare(a.Text, b.Text))
	})
	r.Bars = map[string][]load.Bar{}
	for k, x := range l.latencies {
		r.Series[k+" p50"], r.Series[k+" p95"] = x.Quantiles(0.5), x.Quantiles(0.95)
		r.Bars[k] = x.All().Bars(4)
	}
}

// status is how things stand.
func (l *ledger) status(now time.Time) Status {
	l.mu.Lock()
	defer l.mu.Unlock()
	s := Status{
		Elapsed: now.Sub(l.begun), Running: l.running, Opened: l.calls.Opened, Whole: l.calls.Whole,
		Refused: l.calls.Refused, Errors: l.events[load.Error],
	}
	const lately = 30 * time.Second
	for kind, to := range map[string]*float64{load.CardLatency: &s.Card, load.FinalLatency: &s.Final} {
		if x := l.latencies[kind]; x != nil {
			*to = x.Between(s.Elapsed-lately, s.Elapsed+lately).Quantile(0.95)
		}
	}
	return s
}

// Status is how a run stands.
type Status struct {
	Elapsed       time.Duration
	Running       int
	Opened, Whole int
	Refused       int
	Errors        int
	// Card and Final are the 95th percentiles of the last half minute, in seconds.
	Card, Final float64
}
