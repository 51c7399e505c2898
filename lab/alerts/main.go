// Turns alerting rules and what a controller told of itself over time into the alerts that fire.
//
// It reads one JSON object from standard input: the groups of rules as Prometheus reads them, and
// scrapes, each the text of /metrics of one process and the second at which it was read. What was
// read stays until the next scrape of that process. It prints, for each rule, the label sets for which it fires at the end.
// The rules are parsed and judged by Prometheus' own packages.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"slices"
	"time"

	"github.com/prometheus/common/model"
	"github.com/prometheus/prometheus/model/histogram"
	"github.com/prometheus/prometheus/model/labels"
	"github.com/prometheus/prometheus/model/rulefmt"
	"github.com/prometheus/prometheus/model/textparse"
	"github.com/prometheus/prometheus/promql"
	"github.com/prometheus/prometheus/storage"
	"github.com/prometheus/prometheus/tsdb/chunkenc"
	"github.com/prometheus/prometheus/tsdb/chunks"
	"github.com/prometheus/prometheus/util/annotations"
)

// step is how often metrics are read and rules are judged.
const step = 30 * time.Second

type input struct {
	Rules string `json:"rules"`
	// Queries are asked once, at the end: whether they can be is what matters.
	Queries []string `json:"queries"`
	Scrapes []scrape `json:"scrapes"`
	// Until is the second at which the verdict is given.
	Until int64 `json:"until"`
}

type scrape struct {
	At       int64  `json:"at"`
	Instance string `json:"instance"`
	Text     string `json:"text"`
}

type sample struct {
	t int64
	v float64
}

func (s sample) T() int64                      { return s.t }
func (s sample) F() float64                    { return s.v }
func (s sample) H() *histogram.Histogram       { return nil }
func (s sample) FH() *histogram.FloatHistogram { return nil }
func (s sample) Type() chunkenc.ValueType      { return chunkenc.ValFloat }
func (s sample) Copy() chunks.Sample           { return s }

type series struct {
	labels  labels.Labels
	samples []chunks.Sample
}

// memory holds every series; it is all the storage that the engine gets.
type memory map[string]*series

func main() {
	if err := run(os.Stdin, os.Stdout); err != nil {
		fmt.Fprintf(os.Stderr, "bb-alerts: %v\n", err)
		os.Exit(1)
	}
}

func run(in io.Reader, out io.Writer) error {
	var asked input
	if err := json.NewDecoder(in).Decode(&asked); err != nil {
		return fmt.Errorf("cannot read what is asked: %w", err)
	}
	groups, errs := rulefmt.Parse([]byte(asked.Rules), false, model.UTF8Validation)
	if len(errs) > 0 {
		return fmt.Errorf("rules: %w", errors.Join(errs...))
	}
	all := memory{}
	for n, s := range asked.Scrapes {
		end := asked.Until + 1
		for _, later := range asked.Scrapes[n+1:] {
			if later.Instance == s.Instance {
				end = later.At
				break
			}
		}
		if err := all.read(s, end); err != nil {
			return fmt.Errorf("scrape %d: %w", n, err)
		}
	}
	engine := promql.NewEngine(promql.EngineOpts{MaxSamples: 1e6, Timeout: time.Minute, LookbackDelta: 5 * time.Minute})
	for _, query := range asked.Queries {
		if _, err := evaluate(engine, all, query, asked.Until); err != nil {
			return fmt.Errorf("%s: %w", query, err)
		}
	}
	fires := map[string][]string{}
	for _, group := range groups.Groups {
		for _, rule := range group.Rules {
			firing, err := judge(engine, all, rule, asked.Until)
			if err != nil {
				return fmt.Errorf("%s: %w", rule.Alert, err)
			}
			fires[rule.Alert] = firing
		}
	}
	return json.NewEncoder(out).Encode(fires)
}

// read keeps what a scrape says at each step from its time on, up to end.
func (m memory) read(s scrape, end int64) error {
	p := textparse.NewOpenMetricsParser([]byte(s.Text), labels.NewSymbolTable())
	for {
		entry, err := p.Next()
		if errors.Is(err, io.EOF) {
			return nil
		}
		if err != nil {
			return err
		}
		if entry != textparse.EntrySeries {
			continue
		}
		var of labels.Labels
		p.Labels(&of)
		of = labels.NewBuilder(of).Set("instance", s.Instance).Labels()
		_, _, value := p.Series()
		key := of.String()
		if m[key] == nil {
			m[key] = &series{labels: of}
		}
		for at := s.At; at < end; at += int64(step / time.Second) {
			m[key].samples = append(m[key].samples, sample{at * 1000, value})
		}
	}
}

// judge evaluates a rule at each step, and gives the label sets that held for as long as it says.
func judge(engine *promql.Engine, all memory, rule rulefmt.Rule, until int64) ([]string, error) {
	since := map[string]int64{}
	firing := []string{}
	for at := int64(0); at <= until; at += int64(step / time.Second) {
		vector, err := evaluate(engine, all, rule.Expr, at)
		if err != nil {
			return nil, err
		}
		holds := map[string]bool{}
		firing = firing[:0]
		for _, found := range vector {
			key := found.Metric.String()
			holds[key] = true
			if _, before := since[key]; !before {
				since[key] = at
			}
			if at-since[key] >= int64(time.Duration(rule.For)/time.Second) {
				firing = append(firing, key)
			}
		}
		for key := range since {
			if !holds[key] {
				delete(since, key)
			}
		}
	}
	slices.Sort(firing)
	return firing, nil
}

func evaluate(engine *promql.Engine, all memory, expr string, at int64) (promql.Vector, error) {
	query, err := engine.NewInstantQuery(context.Background(), all, nil, expr, time.Unix(at, 0))
	if err != nil {
		return nil, err
	}
	return query.Exec(context.Background()).Vector()
}

// Querier is what the engine asks.
func (m memory) Querier(_, _ int64) (storage.Querier, error) { return querier{m}, nil }

type querier struct{ all memory }

func (q querier) Select(_ context.Context, _ bool, hints *storage.SelectHints, matchers ...*labels.Matcher) storage.SeriesSet {
	start, end := int64(math.MinInt64), int64(math.MaxInt64)
	if hints != nil {
		start, end = hints.Start, hints.End
	}
	found := &set{next: -1}
	for _, s := range q.all {
		if !slices.ContainsFunc(matchers, func(m *labels.Matcher) bool { return !m.Matches(s.labels.Get(m.Name)) }) {
			within := slices.DeleteFunc(slices.Clone(s.samples), func(c chunks.Sample) bool { return c.T() < start || c.T() > end })
			found.all = append(found.all, storage.NewListSeries(s.labels, within))
		}
	}
	slices.SortFunc(found.all, func(a, b storage.Series) int { return labels.Compare(a.Labels(), b.Labels()) })
	return found
}

func (querier) LabelValues(context.Context, string, *storage.LabelHints, ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	return nil, nil, nil
}

func (querier) LabelNames(context.Context, *storage.LabelHints, ...*labels.Matcher) ([]string, annotations.Annotations, error) {
	return nil, nil, nil
}

func (querier) Close() error { return nil }

type set struct {
	all  []storage.Series
	next int
}

func (s *set) Next() bool                        { s.next++; return s.next < len(s.all) }
func (s *set) At() storage.Series                { return s.all[s.next] }
func (s *set) Err() error                        { return nil }
func (s *set) Warnings() annotations.Annotations { return nil }
