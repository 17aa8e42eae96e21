package main

import (
	"reflect"
	"strings"
	"testing"

	"github.com/imgtools/imgtools/bench/internal/job"
	"github.com/imgtools/imgtools/bench/internal/service"
	"github.com/imgtools/imgtools/bench/internal/shape"
)

// A misspelt word in a table of groups would only show after an hour of
// measuring: every spec must name what exists.
func TestGroups(t *testing.T) {
	profiles, shapes, tools := map[string]bool{}, map[string]bool{}, map[string]bool{}
	for _, p := range service.Profiles {
		profiles[p.Name] = true
	}
	for _, s := range shape.Names {
		shapes[s] = true
	}
	for _, x := range (paths{}).tools() {
		tools[x.Name] = true
	}
	for _, g := range append(groups(), quick()) {
		if _, clash := job.Find(g.name); clash {
			t.Errorf("group %s has the name of a job", g.name)
		}
		for _, x := range g.specs {
			if _, ok := job.Find(x.job); !ok || !profiles[x.profile] || !shapes[x.shape] || x.runs < 1 {
				t.Errorf("%s: bad spec %+v", g.name, x)
			}
			for _, name := range strings.Split(x.tools, ",") {
				if !tools[name] {
					t.Errorf("%s: unknown tool %q", g.name, name)
				}
			}
		}
	}
}

func TestPlan(t *testing.T) {
	got, err := plan([]string{"mount"}, settings{shapes: "tiny,mid", profiles: "lo,wan", runs: 2, warmup: -1, tools: "bound"})
	if err != nil {
		t.Fatal(err)
	}
	want := []spec{
		{job: "mount", shape: "tiny", profile: "lo", tools: "bound", runs: 2}, {job: "mount", shape: "mid", profile: "lo", tools: "bound", runs: 2},
		{job: "mount", shape: "tiny", profile: "wan", tools: "bound", runs: 2}, {job: "mount", shape: "mid", profile: "wan", tools: "bound", runs: 2},
	}
	if !reflect.DeepEqual(got, want) {
		t.Errorf("plan(mount) = %+v; want %+v", got, want)
	}
	all, err := plan([]string{"all"}, settings{warmup: -1})
	n := 0
	for _, g := range groups() {
		n += len(g.specs)
	}
	if err != nil || len(all) != n {
		t.Errorf("plan(all) = %d specs, %v; want %d", len(all), err, n)
	}
	if _, err := plan([]string{"no-such"}, settings{}); err == nil {
		t.Error("plan(no-such) = nil; want an error")
	}
}

// Taking turns is what makes numbers of a shared machine comparable; a job that
// builds on the tool's own last result must not be interrupted by another.
func TestSteps(t *testing.T) {
	x := spec{runs: 2, warmup: 1}
	if got, want := steps(2, x, false), []step{{0, -1}, {1, -1}, {0, 0}, {1, 0}, {0, 1}, {1, 1}}; !reflect.DeepEqual(got, want) {
		t.Errorf("steps = %v; want %v", got, want)
	}
	if got, want := steps(2, x, true), []step{{0, -1}, {0, 0}, {0, 1}, {1, -1}, {1, 0}, {1, 1}}; !reflect.DeepEqual(got, want) {
		t.Errorf("steps again = %v; want %v", got, want)
	}
}
