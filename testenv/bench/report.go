package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// reportVersion is the version of the report's format. Adding fields keeps the version.
const reportVersion = 1

// Report has all results of one run of the bench: bench.json.
type Report struct {
	Version  int       `json:"version"`
	Taken    time.Time `json:"taken"`
	Took     string    `json:"took"`
	Software string    `json:"software"`
	Kernel   string    `json:"kernel"`
	Go       string    `json:"go"`
	CPUs     int       `json:"cpus"`
	Seed     uint64    `json:"seed"`
	Short    bool      `json:"short"`
	// Parts are those that were measured.
	Parts []string `json:"parts"`
	// Figures are in the order of the tables, Micro is the output of the packages' own
	// benchmarks.
	Figures []*Figure `json:"figures"`
	Micro   []Micro   `json:"micro"`
	// Runs hold the clients' raw timestamps. Each is written on one line.
	Runs []Run `json:"-"`
}

func newReport(software string, seed uint64, short bool) *Report {
	return &Report{
		Version: reportVersion, Taken: time.Now().UTC().Truncate(time.Second), Software: software,
		Kernel: kernel(), Go: runtime.Version(), CPUs: runtime.NumCPU(), Seed: seed, Short: short,
	}
}

func kernel() string {
	var u unix.Utsname
	if unix.Uname(&u) != nil {
		return "unknown"
	}
	return unix.ByteSliceToString(u.Release[:])
}

// continues takes over what an earlier run of the same bench measured on the same machine,
// which ended before it was done. A report of another bench is an error.
func (r *Report) continues(path string) error {
	before, err := readReport(path)
	if err != nil {
		return err
	}
	if before.Software != r.Software || before.Kernel != r.Kernel || before.Go != r.Go || before.CPUs != r.CPUs ||
		before.Seed != r.Seed || before.Short != r.Short {
		return fmt.Errorf("continue the report %s: it is of %s, Linux %s, seed %d, not of %s, Linux %s, seed %d",
			path, before.Software, before.Kernel, before.Seed, r.Software, r.Kernel, r.Seed)
	}
	*r = *before
	return nil
}

// add summarizes a part's figures and adds them.
func (r *Report) add(figures ...*Figure) {
	for _, f := range figures {
		f.sum()
		r.Figures = append(r.Figures, f)
	}
}

// missed lists the figures that miss their floors.
func (r *Report) missed() (all []*Figure) {
	for _, f := range r.Figures {
		if !f.Met {
			all = append(all, f)
		}
	}
	return all
}

// encode encodes the report as JSON that suits diff(1): a run is a line.
func (r *Report) encode() ([]byte, error) {
	head, err := json.MarshalIndent(r, "", " ")
	if err != nil {
		return nil, err
	}
	var out bytes.Buffer
	out.Write(bytes.TrimSuffix(head, []byte("\n}")))
	out.WriteString(",\n \"runs\": [")
	for i, run := range r.Runs {
		line, err := json.Marshal(run)
		if err != nil {
			return nil, err
		}
		if i > 0 {
			out.WriteByte(',')
		}
		out.WriteString("\n  ")
		out.Write(line)
	}
	out.WriteString("\n ]\n}\n")
	return out.Bytes(), nil
}

func (r *Report) write(path string) error {
	text, err := r.encode()
	if err == nil {
		err = os.WriteFile(path, text, 0o644)
	}
	if err != nil {
		return fmt.Errorf("write the report %s: %w", path, err)
	}
	return nil
}

// readReport parses a written report.
func readReport(path string) (*Report, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("read the report: %w", err)
	}
	var all struct {
		Report
		Runs []Run `json:"runs"`
	}
	if err := json.Unmarshal(text, &all); err != nil {
		return nil, fmt.Errorf("read the report %s: %w", path, err)
	}
	r := &all.Report
	r.Runs = all.Runs
	if r.Version != reportVersion {
		return nil, fmt.Errorf("read the report %s: version %d; this bench reads version %d", path, r.Version, reportVersion)
	}
	return r, nil
}
