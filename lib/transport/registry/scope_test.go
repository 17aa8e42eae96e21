package registry

import (
	"slices"
	"strings"
	"testing"
)

func TestScopes(t *testing.T) {
	own := scopeSet{repositoryScope("a/b", "pull")}
	tests := []struct {
		add   string
		want  string
		grown bool
	}{
		{"", "repository:a/b:pull", false},
		{"repository:a/b:pull", "repository:a/b:pull", false},
		{"repository:a/b:pull,push", "repository:a/b:pull,push", true},
		{"repository:a/b:push repository:c:pull", "repository:a/b:pull,push repository:c:pull", true},
		{"repository:h:5000/c:pull", "repository:a/b:pull repository:h:5000/c:pull", true},
		{"nonsense :x", "repository:a/b:pull", false},
		{"repository:a/b:", "repository:a/b:pull", false},
		{"registry:catalog:*", "repository:a/b:pull registry:catalog:*", true},
	}
	for _, tt := range tests {
		got, grown := own.with(parseScopes(tt.add)...)
		if s := strings.Join(got.strings(), " "); s != tt.want || grown != tt.grown {
			t.Errorf("with(%q) = %q, %v; want %q, %v", tt.add, s, grown, tt.want, tt.grown)
		}
	}
	if !slices.Equal(own.strings(), []string{"repository:a/b:pull"}) {
		t.Errorf("with() changed its set to %q", own.strings())
	}
	// a registry cannot make us ask for more and more
	set, n := own, 0
	for i := range 1000 {
		var grown bool
		if set, grown = set.with(parseScopes("x:" + strings.Repeat("y", i) + ":" + strings.Repeat("z", i+1) + " repository:a/b:" + strings.Repeat("w", i+1))...); grown {
			n++
		}
	}
	if len(set) > maxScopes || n > maxScopes+maxActions {
		t.Errorf("the set has grown %d times to %d", n, len(set))
	}
}
