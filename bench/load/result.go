package load

import (
	"fmt"
	"time"
)

// Result is what a run found out. Times are seconds, sizes bytes, unless a
// name says otherwise.
type Result struct {
	Title   string    `json:"title"`
	Version string    `json:"version"`
	Server  string    `json:"server"`
	Started time.Time `json:"started"`
	// Seconds is how long the run took; From and To bound the part of it in which
	// all calls ran.
	Seconds float64 `json:"seconds"`
	From    float64 `json:"from"`
	To      float64 `json:"to"`
	// Interrupted says that the run was ended early.
	Interrupted bool     `json:"interrupted,omitempty"`
	Settings    []Fact   `json:"settings"`
	Service     string   `json:"service_level"`
	Breaches    []string `json:"breaches"`

	Calls     CallCounts      `json:"calls"`
	Latencies []LatencyFigure `json:"latencies"`
	Words     []WordFigure    `json:"words"`
	Cards     CardCounts      `json:"cards"`
	Packets   PacketCounts    `json:"packets"`
	Usage     Usage           `json:"usage"`
	Tool      ToolUsage       `json:"tool"`
	Checks    []Check         `json:"checks"`
	Problems  []Problem       `json:"problems"`
	// Steps and Capacity are a ramp's: the largest number of calls at which the
	// service level was kept, and what bounded it.
	Steps    []Step   `json:"steps,omitempty"`
	Capacity *int     `json:"capacity,omitempty"`
	Bound    []string `json:"bound,omitempty"`

	Series map[string][]Sample `json:"series"`
	// Bars are the distributions of latencies, by their names.
	Bars map[string][]Bar `json:"-"`
}

// Fact is a setting of the run.
type Fact struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// CallCounts count calls.
type CallCounts struct {
	// AtOnce is how many ran at once at most, by our count.
	AtOnce int `json:"at_once"`
	// Opened calls got a place; of them Whole were played to their end and
	// verified, Cut were hung up early because the run ended.
	Opened int `json:"opened"`
	Whole  int `json:"whole"`
	Cut    int `json:"cut"`
	// Refused counts requests that the server had no room for.
	Refused int `json:"refused"`
	// States counts the end states of calls.
	States map[string]int `json:"states"`
	// NotOnce counts calls that did not get exactly one end state: told to the
	// pane once, the same in the record, and the same when asked again.
	NotOnce int `json:"not_once"`
	// Minutes is the audio that was played of all calls, in minutes of a call.
	Minutes float64 `json:"minutes"`
	// LostTurns counts turns of which nothing was recognised.
	LostTurns int `json:"lost_turns"`
	// PaneLosses counts connections of panes that broke.
	PaneLosses int `json:"pane_losses"`
}

// LatencyFigure is a distribution of latencies, as we or as the server
// measured it.
type LatencyFigure struct {
	Name string `json:"name"`
	// What says from where to where.
	What string `json:"what"`
	Spread
	// Estimated quantiles come from the server's histogram.
	Estimated bool `json:"estimated,omitempty"`
}

// WordFigure is the word error rate of the calls of one recording.
type WordFigure struct {
	Name  string `json:"name"`
	Calls int    `json:"calls"`
	// Agent and Customer are word error rates of each side in percent, Both of
	// all words; Best and Worst are those of single calls.
	Agent    float64 `json:"agent"`
	Customer float64 `json:"customer"`
	Both     float64 `json:"both"`
	Best     float64 `json:"best"`
	Worst    float64 `json:"worst"`
}

// CardCounts count cards of calls that were verified.
type CardCounts struct {
	// Judged is how many calls had a script of cards.
	Judged    int `json:"judged_calls"`
	Expected  int `json:"expected"`
	Missing   int `json:"missing"`
	Wrong     int `json:"wrong"`
	Shown     int `json:"shown"`
	Unpainted int `json:"unpainted"`
}

// PacketCounts follow packets from us to the recogniser.
type PacketCounts struct {
	Sent int `json:"sent"`
	// KeptBack were lost on purpose.
	KeptBack int `json:"kept_back"`
	Received int `json:"received"`
	// Vanished is what was sent and did not arrive, Lost what the server found
	// missing, the former and what was kept back.
	Vanished int `json:"vanished"`
	Lost     int `json:"lost"`
	Late     int `json:"late"`
	// Concealed frames were made up, Dropped ones were not heard in time.
	Concealed int `json:"concealed_frames"`
	Dropped   int `json:"dropped_frames"`
	// BufferErrors are datagrams that the kernel dropped because a socket's
	// buffer was full, of the whole machine; -1: not known.
	BufferErrors int `json:"buffer_errors"`
}

// Usage is what the server took while all calls ran.
type Usage struct {
	// Cores is the processors it had in the mean, PerCall that for each call,
	// Allowed those that it may have.
	Cores   float64 `json:"cores"`
	PerCall float64 `json:"cores_per_call"`
	Allowed int     `json:"allowed"`
	// Idle is the machine's idle share, 0 to 1; -1: not known.
	Idle float64 `json:"machine_idle"`
	// Workers is the share of the recogniser's workers' time spent decoding,
	// PartialWait and FinalWait what the server says of its waits.
	Workers     float64 `json:"workers_busy"`
	PartialWait float64 `json:"partial_wait"`
	FinalWait   float64 `json:"final_wait"`
	Memory      float64 `json:"memory"`
	MemoryMax   float64 `json:"memory_max"`
	// Heap is the goal of the garbage collection: about twice what is alive.
	Heap       float64 `json:"heap_goal"`
	Goroutines float64 `json:"goroutines"`
	Files      float64 `json:"files"`
	// Pause is the longest pause by garbage collection that was seen.
	Pause float64 `json:"gc_pause"`
}

// ToolUsage is what the load itself took.
type ToolUsage struct {
	Cores   float64 `json:"cores"`
	PerCall float64 `json:"cores_per_call"`
	Memory  float64 `json:"memory"`
	// Late is how late packets left.
	Late Spread `json:"packets_late"`
}

// Problem is something that went wrong, and how often.
type Problem struct {
	Text  string `json:"text"`
	Count int    `json:"count"`
}

// Step is one number of calls of a ramp.
type Step struct {
	Calls     int             `json:"calls"`
	Seconds   float64         `json:"seconds"`
	Latencies []LatencyFigure `json:"latencies"`
	Usage     Usage           `json:"usage"`
	Breaches  []string        `json:"breaches"`
}

// Holds says whether the service level was kept.
func (s *Step) Holds() bool { return len(s.Breaches) == 0 }

// Failed are the checks that were not passed.
func (r *Result) Failed() []Check {
	var out []Check
	for _, c := range r.Checks {
		if !c.OK && !c.Skipped {
			out = append(out, c)
		}
	}
	return out
}

// Bounds says what bounded a step that did not hold, from what the server and
// the machine had left.
func Bounds(s *Step) []string {
	const full = 0.9
	u := s.Usage
	var out []string
	if u.Allowed > 0 && u.Cores >= full*float64(u.Allowed) {
		out = append(out, fmt.Sprintf("processor: the server uses %.2f of its %d cores", u.Cores, u.Allowed))
	}
	if u.Workers >= full {
		out = append(out, fmt.Sprintf("recognition.workers: they decode %.0f %% of the time, while the server uses %.2f of its %d cores", 100*u.Workers, u.Cores, u.Allowed))
	}
	if u.Idle >= 0 && u.Idle < 1-full {
		out = append(out, fmt.Sprintf("the machine: %.0f %% of its processors' time is idle, others on it included", 100*u.Idle))
	}
	if len(out) == 0 {
		out = append(out, fmt.Sprintf("neither processors (%.2f of %d cores) nor workers (%.0f %%) were full; partials waited %.2f s, finals %.2f s", u.Cores, u.Allowed, 100*u.Workers, u.PartialWait, u.FinalWait))
	}
	return out
}
