package benchload

import (
	"context"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"time"

	"sidetone/bench/load"
	"sidetone/cmd/sidetone/internal/core"
)

// clockTicks is the unit of processor time in /proc, a second's part; it is 100
// wherever Linux runs (proc(5), sysconf(_SC_CLK_TCK)).
const clockTicks = 100

// reading is what a server had used up at a moment. A figure that is not known
// is 0.
type reading struct {
	at      time.Duration
	metrics load.Metrics
	// cpu is seconds, rss and heap bytes; heap is the goal of the next garbage
	// collection, which follows what is alive and not what is yet to be collected.
	cpu, rss, heap, goroutines, files float64
	// own and idle are processor seconds: of this process, and that the machine
	// had nothing to do; ownRSS bytes.
	own, idle, ownRSS float64
	// bufferErrors is of the whole machine; -1: not known.
	bufferErrors float64
}

// sampler reads the server's figures about once a second.
type sampler struct {
	api   *api
	pid   int
	begun time.Time
	every time.Duration
	led   *ledger

	mu     sync.Mutex
	series map[string]*load.Series
	last   reading
	pause  float64
}

func newSampler(a *api, pid int, l *ledger) *sampler {
	return &sampler{api: a, pid: pid, begun: l.begun, every: time.Second, led: l, series: map[string]*load.Series{}}
}

func (s *sampler) run(ctx context.Context) {
	t := time.NewTicker(s.every)
	defer t.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-t.C:
			s.sample(ctx)
		}
	}
}

// sample takes a reading and adds it to the series.
func (s *sampler) sample(ctx context.Context) {
	r, err := s.read(ctx)
	if err != nil {
		if ctx.Err() == nil {
			s.led.trouble("", "metrics: "+err.Error())
		}
		if r.cpu == 0 {
			return
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	add := func(name string, v float64) {
		x := s.series[name]
		if x == nil {
			x = &load.Series{}
			s.series[name] = x
		}
		x.Add(r.at, v)
	}
	if span := (r.at - s.last.at).Seconds(); s.last.at > 0 && span > 0 {
		// A server that was started anew begins at 0 again.
		add("cores", max(r.cpu-s.last.cpu, 0)/span)
		add("own cores", (r.own-s.last.own)/span)
		add("idle cores", (r.idle-s.last.idle)/span)
	}
	s.last = r
	add("memory", r.rss)
	add("heap", r.heap)
	add("own memory", r.ownRSS)
	add("goroutines", r.goroutines)
	add("files", r.files)
	if r.metrics == nil {
		return
	}
	for name, of := range map[string]string{
		"calls": "calls_running", "queue": "asr_decodes_queued", "workers": "asr_load_busy",
		"partial wait": "asr_partial_wait_seconds", "final wait": "asr_final_wait_seconds", "panes": "panes",
	} {
		if v, ok := r.metrics["sidetone_"+of]; ok {
			add(name, v)
		}
	}
	if v, ok := r.metrics[`go_gc_duration_seconds{quantile="1"}`]; ok {
		s.pause = max(s.pause, v)
		add("gc pause", v)
	}
}

// read takes a reading. Where /metrics does not answer, what /proc tells of the
// process is there beside the error.
func (s *sampler) read(ctx context.Context) (reading, error) {
	r := reading{bufferErrors: -1}
	m, err := s.api.metrics(ctx)
	r.at = time.Since(s.begun)
	if err == nil {
		r.metrics = m
		r.cpu, r.rss = m["process_cpu_seconds_total"], m["process_resident_memory_bytes"]
		r.heap, r.goroutines = m["go_memstats_next_gc_bytes"], m["go_goroutines"]
		r.files = m["process_open_fds"]
	}
	if s.pid > 0 && (err != nil || r.cpu == 0) {
		r.cpu, r.rss, r.files = process(s.pid)
	}
	r.own = core.Time().Seconds()
	_, r.ownRSS, _ = process(os.Getpid())
	r.idle = idle()
	r.bufferErrors = bufferErrors()
	return r, err
}

// mean is the mean of a series in a part of the run, most its maximum.
func (s *sampler) mean(name string, from, to time.Duration) (mean, most float64) {
	s.mu.Lock()
	defer s.mu.Unlock()
	x := s.series[name]
	if x == nil {
		return 0, 0
	}
	all := x.Samples(from, to)
	for _, p := range all {
		mean += p.Mean / float64(len(all))
		most = max(most, p.Max)
	}
	return mean, most
}

// usage sums up a part of the run, in which so many calls ran at once.
func (s *sampler) usage(from, to time.Duration, cpus int) load.Usage {
	of := func(name string) float64 { v, _ := s.mean(name, from, to); return v }
	u := load.Usage{
		Cores: of("cores"), Allowed: cpus, Idle: -1, Workers: of("workers"),
		PartialWait: of("partial wait"), FinalWait: of("final wait"),
		Heap: of("heap"), Goroutines: of("goroutines"), Files: of("files"),
	}
	u.Memory, u.MemoryMax = s.mean("memory", from, to)
	if calls := of("calls"); calls > 0 {
		u.PerCall = u.Cores / calls
	}
	if n := processors(); n > 0 {
		u.Idle = of("idle cores") / float64(n)
	}
	s.mu.Lock()
	u.Pause = s.pause
	s.mu.Unlock()
	return u
}

// trend fits a line to a part of a series.
func (s *sampler) trend(name string, from, to time.Duration) load.Trend {
	s.mu.Lock()
	defer s.mu.Unlock()
	x := s.series[name]
	if x == nil {
		return load.Trend{}
	}
	return load.NewTrend(x.Samples(from, to))
}

// fill puts the series into the result.
func (s *sampler) fill(r *load.Result) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for name, x := range s.series {
		r.Series[name] = x.Samples(0, 1<<62)
	}
}

// process reads what a process has used up and holds, from /proc (proc(5)):
// processor seconds, resident bytes and open files. 0 where it is not known.
func process(pid int) (cpu, rss, files float64) {
	dir := filepath.Join("/proc", strconv.Itoa(pid))
	if b, err := os.ReadFile(filepath.Join(dir, "stat")); err == nil {
		// The name, in brackets, may have blanks. What follows begins with field 3.
		_, rest, _ := strings.Cut(string(b), ") ")
		if f := strings.Fields(rest); len(f) > 21 {
			cpu = (number(f[11]) + number(f[12])) / clockTicks
			rss = number(f[21]) * float64(os.Getpagesize())
		}
	}
	if open, err := os.ReadDir(filepath.Join(dir, "fd")); err == nil {
		files = float64(len(open))
	}
	return cpu, rss, files
}

func number(s string) float64 {
	v, err := strconv.ParseFloat(s, 64)
	if err != nil {
		return 0
	}
	return v
}

// idle is the processor seconds that the machine had nothing to do, all of them
// together; 0 where it is not known.
func idle() float64 {
	f := strings.Fields(firstLine("/proc/stat", "cpu "))
	if len(f) < 6 {
		return 0
	}
	return (number(f[4]) + number(f[5])) / clockTicks
}

// processors is how many processors the machine has; 0 where it is not known.
func processors() int {
	b, err := os.ReadFile("/proc/stat")
	if err != nil {
		return 0
	}
	n := 0
	for line := range strings.Lines(string(b)) {
		if strings.HasPrefix(line, "cpu") && !strings.HasPrefix(line, "cpu ") {
			n++
		}
	}
	return n
}

// bufferErrors is how many datagrams the kernel dropped because a socket's buffer
// was full, of all processes; -1 where it is not known.
func bufferErrors() float64 {
	b, err := os.ReadFile("/proc/net/snmp")
	if err != nil {
		return -1
	}
	return udpBufferErrors(string(b))
}

// udpBufferErrors reads RcvbufErrors in the form of /proc/net/snmp: a line of
// names, then one of values.
func udpBufferErrors(text string) float64 {
	var names []string
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) == 0 || f[0] != "Udp:" {
			continue
		}
		if names == nil {
			names = f
			continue
		}
		for i, name := range names {
			if name == "RcvbufErrors" && i < len(f) {
				return number(f[i])
			}
		}
	}
	return -1
}

func firstLine(file, prefix string) string {
	b, err := os.ReadFile(file)
	if err != nil {
		return ""
	}
	for line := range strings.Lines(string(b)) {
		if strings.HasPrefix(line, prefix) {
			return line
		}
	}
	return ""
}
