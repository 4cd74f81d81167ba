package failover_test

import (
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	. "swerve/failover"
	"swerve/testenv/simulator"
)

var update = flag.Bool("update", false, "rewrite what the scripts in testdata expect")

// TestScripts plays the scripts in testdata. A script has the input, then a line of
// dashes, then the expected output. Its format is described in testdata/README.
func TestScripts(t *testing.T) {
	files, err := filepath.Glob("testdata/*.txt")
	if err != nil || len(files) == 0 {
		t.Fatalf("scripts: %v, %v", files, err)
	}
	for _, file := range files {
		t.Run(strings.TrimSuffix(filepath.Base(file), ".txt"), func(t *testing.T) { playFile(t, file) })
	}
}

func playFile(t *testing.T, file string) {
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	input, want, _ := strings.Cut(string(raw), "----\n")
	got := play(t, input)
	if *update {
		if err := os.WriteFile(file, []byte(input+"----\n"+got), 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	if got != want {
		t.Errorf("%s\n%s", file, firstDifference(got, want))
	}
}

func firstDifference(got, want string) string {
	g, w := strings.Split(got, "\n"), strings.Split(want, "\n")
	for i := range max(len(g), len(w)) {
		a, b := "(end)", "(end)"
		if i < len(g) {
			a = g[i]
		}
		if i < len(w) {
			b = w[i]
		}
		if a != b {
			return fmt.Sprintf("output line %d\n got %s\nwant %s", i+1, a, b)
		}
	}
	return ""
}

// player plays one script.
type player struct {
	world
	cfg     Config
	out     strings.Builder
	ladders map[string]string
	loads   loads
}

func play(t *testing.T, input string) string {
	p := &player{world: world{t: t}, cfg: DefaultConfig(), ladders: map[string]string{}}
	for i, line := range strings.Split(input, "\n") {
		line, _, _ = strings.Cut(line, "#")
		words := strings.Fields(line)
		if len(words) == 0 {
			continue
		}
		if err := p.line(words); err != nil {
			t.Fatalf("line %d: %s: %v", i+1, line, err)
		}
	}
	return p.out.String()
}

func (p *player) line(words []string) error {
	if words[0] == "config" {
		return configure(&p.cfg, words[1:])
	}
	at, err := time.ParseDuration(words[0])
	if err != nil {
		return err
	}
	if p.World == nil {
		p.World = simulator.NewWorld(p.cfg, 1, simulator.Options{Witness: p.print})
	}
	for p.loads.next > 0 && p.loads.next <= at {
		p.until(p.loads.next)
		p.step(p.loads.read(p.Now()))
	}
	p.until(at)
	return p.do(words[1:])
}

// print formats the output of a step.
func (p *player) print(_ *Engine, at Instant, _ Event, out Output) {
	stamp := fmt.Sprintf("%9.3fs  ", at.Seconds())
	for _, r := range out.Records {
		p.out.WriteString(stamp + recordText(r) + "\n")
	}
	if out.Intent == nil {
		return
	}
	for _, pi := range out.Intent.Policies {
		for _, f := range Families {
			key, text := pi.Policy+" "+f.String(), ladderText(pi.Family[f])
			if p.ladders[key] != text {
				p.ladders[key] = text
				fmt.Fprintf(&p.out, "%sladder  %s: %s\n", stamp, key, text)
			}
		}
	}
}

func recordText(r Record) string {
	if h := r.Health; h != nil {
		text := fmt.Sprintf("health  %s %s %s > %s: %s%s", h.Uplink, h.Family, h.From, h.To, h.Reason, evidenceText(h.Evidence))
		if h.Paused > 0 {
			text += " paused" + evidenceText(h.Paused)
		}
		return text
	}
	if o := r.Overflow; o != nil {
		text := fmt.Sprintf("over    %s %s %s %s", o.Policy, o.Family, o.Phase, strings.Join(o.From, "+"))
		if len(o.To) > 0 {
			text += " > " + strings.Join(o.To, "+")
		}
		return text + ": " + o.Reason
	}
	s := r.Switch
	return fmt.Sprintf("switch  %s %s %s %s > %s: %s%s", s.Policy, s.Family, s.Kind,
		strings.Join(s.From, "+"), strings.Join(s.To, "+"), s.Reason, evidenceText(s.Evidence))
}

func evidenceText(d time.Duration) string {
	if d < 0 {
		return ""
	}
	return fmt.Sprintf(" [%.0fms]", d.Seconds()*1000)
}

func ladderText(l Ladder) string {
	var rungs []string
	for _, r := range l.Rungs {
		var shares []string
		for _, s := range r.Shares {
			name := s.Uplink
			if s.Weight != 1 {
				name += "*" + strconv.Itoa(s.Weight)
			}
			shares = append(shares, name)
		}
		rungs = append(rungs, strings.Join(shares, "+"))
	}
	text := strings.Join(rungs, " > ")
	if len(l.Lost) > 0 {
		text += "; lost " + strings.Join(l.Lost, ", ")
	}
	if len(l.Drained) > 0 {
		text += "; drained " + strings.Join(l.Drained, ", ")
	}
	if l.Block {
		text += "; block"
	}
	return text
}
