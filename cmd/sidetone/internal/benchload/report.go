package benchload

import (
	"fmt"
	"strings"
	"time"

	"sidetone/bench/load"
)

// report sums the run up.
func (r *runner) report(result *load.Result, before, after reading) {
	result.Seconds = time.Since(r.led.begun).Seconds()
	from, to := seconds(result.From), seconds(result.To)
	r.sam.fill(result)
	r.led.fill(result)
	all := r.led.figures(0, 1<<62, nil)
	result.Latencies = append(latencyFigures(all), serverLatencies(before.metrics, after.metrics)...)
	if result.Capacity == nil {
		result.Breaches = r.cfg.Service.Breaches(all)
	}
	result.Usage = r.sam.usage(from, to, r.cfg.CPUs)
	own, _ := r.sam.mean("own cores", from, to)
	calls, _ := r.sam.mean("calls", from, to)
	memory, _ := r.sam.mean("own memory", from, to)
	result.Tool = load.ToolUsage{Cores: own, Memory: memory, Late: r.pace.lateness()}
	if calls > 0 {
		result.Tool.PerCall = own / calls
	}
	result.Packets.BufferErrors = -1
	if before.bufferErrors >= 0 && after.bufferErrors >= 0 {
		result.Packets.BufferErrors = int(after.bufferErrors - before.bufferErrors)
	}
	result.Checks = r.checks(result, before, after, from, to)
}

// serverLatencies are the server's own figures, from its histograms.
func serverLatencies(before, after load.Metrics) []load.LatencyFigure {
	var out []load.LatencyFigure
	for _, h := range []struct{ name, metric, what string }{
		{"server card", "card_latency_seconds", "as the server measured it, painting included"},
		{"server final", "final_lag_seconds", "as the server measured it, until it left the recogniser"},
		{"server stable", "stable_word_lag_seconds", "as the server measured it, until it left the recogniser"},
	} {
		d := after.Histogram("sidetone_" + h.metric).Since(before.Histogram("sidetone_" + h.metric))
		if d.Count() == 0 {
			continue
		}
		sum := after["sidetone_"+h.metric+"_sum"] - before["sidetone_"+h.metric+"_sum"]
		out = append(out, load.LatencyFigure{Name: h.name, What: h.what, Estimated: true, Spread: load.Spread{
			Count: d.Count(), Mean: sum / float64(d.Count()), P50: d.Quantile(0.5), P95: d.Quantile(0.95), P99: d.Quantile(0.99),
		}})
	}
	return out
}

// checks answers what a run is made for.
func (r *runner) checks(result *load.Result, before, after reading, from, to time.Duration) []load.Check {
	c := result.Calls
	out := []load.Check{{
		Name: "one end state a call", OK: c.NotOnce == 0 && c.Opened == c.Whole+c.Cut && c.Opened > 0,
		Text: fmt.Sprintf("%d opened, %d played to the end, %d hung up early, %d without exactly one end state", c.Opened, c.Whole, c.Cut, c.NotOnce),
	}}
	if r.cfg.Own && after.metrics != nil {
		ended := ends(after.metrics) - ends(before.metrics)
		out = append(out, load.Check{
			Name: "the server counts the same calls", OK: int(ended) == c.Opened && after.metrics["sidetone_calls_running"] == 0,
			Text: fmt.Sprintf("%.0f ended by its count, %d opened by ours, %.0f still running", ended, c.Opened, after.metrics["sidetone_calls_running"]),
		})
	}
	if result.Capacity == nil {
		slo := load.Check{Name: "service level", OK: len(result.Breaches) == 0, Text: result.Service}
		if !slo.OK {
			slo.Text = strings.Join(result.Breaches, "; ")
		}
		out = append(out, slo)
		third := (to - from) / 3
		for _, k := range kinds() {
			first, last := r.led.figures(from, from+third, nil).Latencies[k], r.led.figures(to-third, to, nil).Latencies[k]
			if first != nil && last != nil {
				out = append(out, load.CheckDrift(k, first, last, third.Seconds()))
			}
		}
		out = append(out,
			load.CheckFlat("server's memory", r.sam.trend("memory", from+third, to)),
			load.CheckFlat("server's heap", r.sam.trend("heap", from+third, to)),
			load.CheckFlat("load tool's memory", r.sam.trend("own memory", from+third, to)))
	}
	const fewGoroutines, fewFiles = 5, 3
	out = append(out,
		load.CheckBack("goroutines", before.goroutines, after.goroutines, fewGoroutines),
		load.CheckBack("files and ports", before.files, after.files, fewFiles))
	p := result.Packets
	out = append(out, load.Check{
		Name: "every packet arrives", OK: p.Vanished == 0, Skipped: p.Sent == 0,
		Text: fmt.Sprintf("%d sent, %d received, %d vanished, %d frames dropped, %d full socket buffers", p.Sent, p.Received, p.Vanished, p.Dropped, p.BufferErrors),
	}, load.Check{
		Name: "every turn recognised", OK: c.LostTurns == 0, Skipped: c.Whole == 0,
		Text: fmt.Sprintf("%d turns without a word in %d calls", c.LostTurns, c.Whole),
	}, load.Check{
		Name: "cards as the script has them", OK: result.Cards.Missing+result.Cards.Wrong == 0, Skipped: result.Cards.Judged == 0,
		Text: fmt.Sprintf("%d expected in %d calls, %d missing, %d for nothing", result.Cards.Expected, result.Cards.Judged, result.Cards.Missing, result.Cards.Wrong),
	}, load.Check{
		Name: "packets sent in time", OK: result.Tool.Late.P99 < 2*packetTime.Seconds(),
		Text: fmt.Sprintf("%.1f ms late in the 99th percentile, %.1f ms at most", 1000*result.Tool.Late.P99, 1000*result.Tool.Late.Max),
	})
	return out
}

// ends is how many calls a server counts that are over, without those that
// never began.
func ends(m load.Metrics) float64 {
	refused := m[`sidetone_calls_total{state="refused"}`]
	return m.Sum("sidetone_calls_total") - refused
}
