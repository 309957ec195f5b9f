package main

import (
	"bytes"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// measured is a report of three rounds, in which the machine was slower each time.
func measured() *report {
	w := echo(64, 1, 64)
	r := &report{plan: plan{workloads: []workload{w}, impls: allImpls}}
	for round, slowness := range []float64{1, 10, 100} {
		for impl, cpu := range map[string]float64{cRaw: 1000, "raw": 1050, "net": 1200} {
			r.Samples = append(r.Samples, sample{round, w.Name, impl, map[string]float64{"cpu": cpu * slowness}})
		}
	}
	r.finish()
	return r
}

func TestRatiosAreOfOneRound(t *testing.T) {
	r := measured()
	x := r.find(echo(64, 1, 64).Name, "raw", "cpu")
	if x.Median != 10500 || x.Low != 1050 || x.High != 105000 {
		t.Errorf("median %v of %v to %v", x.Median, x.Low, x.High)
	}
	if x.Ratios[cRaw] != 1.05 || x.Ratios["net"] != 0.875 {
		t.Errorf("ratios %v", x.Ratios)
	}
	if _, ok := x.Ratios["gnet"]; ok {
		t.Error("a ratio to what was not measured")
	}
}

func TestBarsOfWhatWasMeasured(t *testing.T) {
	r := measured()
	if len(r.Bars) != 2 {
		t.Fatalf("%d bars: %v", len(r.Bars), r.Bars)
	}
	for _, b := range r.Bars {
		if !b.Holds {
			t.Errorf("%s is missed: %v of %v", b.What, b.Measured, b.Limit)
		}
	}
}

func TestMedian(t *testing.T) {
	for _, tt := range []struct {
		of   []float64
		want float64
	}{
		{[]float64{3}, 3},
		{[]float64{9, 1, 5}, 5},
		{[]float64{4, 1, 3, 2}, 2.5},
	} {
		if got := median(tt.of); got != tt.want {
			t.Errorf("median(%v) = %v, want %v", tt.of, got, tt.want)
		}
	}
}

func TestPlanKeepsReferences(t *testing.T) {
	p := fullPlan.matching(regexp.MustCompile("^chain"), regexp.MustCompile("^nolock$"))
	if len(p.workloads) != 3 {
		t.Errorf("%d workloads", len(p.workloads))
	}
	var names []string
	for _, i := range p.impls {
		names = append(names, i.Name)
	}
	if got := strings.Join(names, " "); got != "c-raw c-bufferevent c nolock" {
		t.Errorf("implementations: %s", got)
	}
	seen := map[string]bool{}
	for _, w := range fullPlan.workloads {
		if seen[w.Name] {
			t.Errorf("%s is there twice", w.Name)
		}
		seen[w.Name] = true
	}
}

func TestDocumentReplacesFigures(t *testing.T) {
	file := filepath.Join(t.TempDir(), "doc.md")
	if err := os.WriteFile(file, []byte("before\n"+docBegin+"old\n"+docEnd+"after\n"), 0o666); err != nil {
		t.Fatal(err)
	}
	for range 2 {
		if err := measured().document(file); err != nil {
			t.Fatal(err)
		}
	}
	got, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.HasPrefix(got, []byte("before\n"+docBegin)) || !bytes.HasSuffix(got, []byte(docEnd+"after\n")) ||
		bytes.Contains(got, []byte("old")) || !bytes.Contains(got, []byte("10.50 (1.05)")) {
		t.Errorf("the document is now\n%s", got)
	}
	if _, err := os.Stat(filepath.Join(filepath.Dir(file), "performance-echo.svg")); err != nil {
		t.Error(err)
	}
}
