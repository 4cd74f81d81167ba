package routing

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
)

const (
	// recordVersion is the format of the file.
	recordVersion = 1
	// recordLimit is the most that a file may have, in bytes; ours have a hundred
	// for each sysctl.
	recordLimit = 1 << 20
)

// record is the file that remembers what sysctls were before we set them.
type record struct {
	path    string
	Version int      `json:"version"`
	Changes []change `json:"changes"`
}

// change is one sysctl that is, or is about to be, ours.
type change struct {
	// Interface is the name it had then; Index tells it from a later one of the
	// same name.
	Interface string `json:"interface"`
	Index     int    `json:"index"`
	// Key is the family and the last part of the sysctl: ipv4/src_valid_mark.
	Key string `json:"key"`
	Old string `json:"old"`
}

func compareChanges(a, b change) int {
	return cmp.Or(cmp.Compare(a.Interface, b.Interface), cmp.Compare(a.Index, b.Index), cmp.Compare(a.Key, b.Key))
}

// same reports whether both are about the same sysctl of the same interface.
func (c change) same(o change) bool { return c.Index == o.Index && c.Key == o.Key }

// readRecord reads the file; one that is not there is an empty record.
func readRecord(path string) (*record, error) {
	r := &record{path: path, Version: recordVersion}
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return r, nil
	}
	var b []byte
	if err == nil {
		defer f.Close()
		b, err = io.ReadAll(io.LimitReader(f, recordLimit+1))
	}
	if err == nil {
		err = r.decode(b)
	}
	if err != nil {
		return nil, fmt.Errorf("routing: read the old sysctls from %s: %w", path, err)
	}
	return r, nil
}

// decode takes the file's content apart, and refuses what we cannot have written:
// its words become paths below /proc/sys.
func (r *record) decode(b []byte) error {
	if len(b) > recordLimit {
		return fmt.Errorf("more than %d bytes", recordLimit)
	}
	if err := json.Unmarshal(b, r); err != nil {
		return err
	}
	if r.Version != recordVersion {
		return fmt.Errorf("format version %d, this software knows %d", r.Version, recordVersion)
	}
	for _, c := range r.Changes {
		if !isManaged(c.Key) {
			return fmt.Errorf("%q is no sysctl that is ever set", c.Key)
		}
		if _, err := strconv.Atoi(c.Old); err != nil {
			return fmt.Errorf("%q is no value of %s", c.Old, c.Key)
		}
	}
	return nil
}

// keep remembers changes before they are made. What is known of a sysctl already
// is the older value, and stays.
func (r *record) keep(changes []change) error {
	before := r.Changes
	all := slices.Clone(before)
	for _, c := range changes {
		if !slices.ContainsFunc(all, c.same) {
			all = append(all, c)
		}
	}
	if len(all) == len(before) {
		return nil
	}
	slices.SortFunc(all, compareChanges)
	r.Changes = all
	if err := r.save(); err != nil {
		r.Changes = before
		return fmt.Errorf("routing: keep the old sysctls, so none is written: %w", err)
	}
	return nil
}

// forget drops changes that have been undone.
func (r *record) forget(changes []change) error {
	r.Changes = slices.DeleteFunc(r.Changes, func(c change) bool { return slices.ContainsFunc(changes, c.same) })
	err := r.save()
	if len(r.Changes) == 0 {
		err = os.Remove(r.path)
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("routing: forget old sysctls that are back: %w", err)
	}
	return nil
}

// others are the changes of interfaces that are not among the given ones.
func (r *record) others(links []Interface) []change {
	var out []change
	for _, c := range r.Changes {
		if !slices.ContainsFunc(links, func(l Interface) bool { return l.Index == c.Index }) {
			out = append(out, c)
		}
	}
	return out
}

// save writes the file beside its place and renames it, so that there is always
// a whole one.
func (r *record) save() error {
	b, err := json.MarshalIndent(r, "", "  ")
	if err != nil {
		return err
	}
	f, err := os.CreateTemp(filepath.Dir(r.path), ".sysctls-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // fails once it is renamed
	_, err = f.Write(append(b, '\n'))
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), r.path)
}
