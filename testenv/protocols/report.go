package main

import (
	"encoding/json"
	"fmt"
	"os"
	"runtime"
	"time"

	"golang.org/x/sys/unix"
)

// reportVersion is the version of the report's format. Adding fields keeps the version.
const reportVersion = 1

// Report has all results: sessions.json.
type Report struct {
	Version  int       `json:"version"`
	Taken    time.Time `json:"taken"`
	Took     string    `json:"took"`
	Software string    `json:"software"`
	Kernel   string    `json:"kernel"`
	CPUs     int       `json:"cpus"`
	Results  []*Result `json:"results"`
	// Wrong lists the sessions that did not get what they were promised.
	Wrong []string `json:"wrong,omitempty"`
}

func newReport(software string) *Report {
	r := &Report{Version: reportVersion, Taken: time.Now().UTC().Truncate(time.Second), Software: software, Kernel: "unknown", CPUs: runtime.NumCPU()}
	var u unix.Utsname
	if unix.Uname(&u) == nil {
		r.Kernel = unix.ByteSliceToString(u.Release[:])
	}
	return r
}

func (r *Report) write(path string) error {
	text, err := json.MarshalIndent(r, "", " ")
	if err == nil {
		err = os.WriteFile(path, append(text, '\n'), 0o644)
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
	r := new(Report)
	if err := json.Unmarshal(text, r); err != nil {
		return nil, fmt.Errorf("read the report %s: %w", path, err)
	}
	if r.Version != reportVersion {
		return nil, fmt.Errorf("read the report %s: version %d; this program reads version %d", path, r.Version, reportVersion)
	}
	return r, nil
}
