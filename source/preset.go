package source

import (
	"errors"
	"slices"
	"strings"

	"github.com/exampleco/tsupload/internal/timesheet"
)

// PresetAuto is the Config.Preset that recognizes a tracker by its header.
const PresetAuto = "auto"

// preset is how one tracker's export is read. A tracker is data: what is
// peculiar to one is a field here, which the one reader looks at.
type preset struct {
	name string
	// title is the export as people call it.
	title string
	// marks must all stand in the header, each in one of its spellings; a header
	// with all of them is this tracker's.
	marks [][]string
	// columns are the spellings of each field's header, folded, the preferred
	// first. An id is given only where it can be trusted.
	columns map[field][]string
	// skip names the rows that are no work, by their folded value of fieldKind.
	skip map[string]timesheet.Reason
	// subtotals tells that rows with a value of fieldKind but without a date are
	// sums of other rows.
	subtotals bool
	// sums is the header of a second table, below the entries, that adds them up.
	sums []string
	// never is what stands in place of the end of a timer that runs, folded.
	never string
	// unpadded tells that seconds of durations are written without a leading zero.
	unpadded bool
	// worked tells that durations are whole milliseconds, or such as 1h 30m.
	worked bool
	// insist tells that our own reading of such a header would be wrong.
	insist bool
	// first tells the same where the header is nobody else's: the preset then
	// reads it.
	first bool
	// durations is Config.DurationFormat, where the configuration has none; iso
	// stands for ISO 8601 or whole seconds, decimalMinutes for what it says.
	durations string
	// planned tells that entries can be of the future, and are no work until they
	// are over.
	planned bool
	// pivoted is the header of the export with a column for each day, of which the
	// table with the other columns is made.
	pivoted *pivot
	// refuse is why an export of this kind cannot be read, and useInstead what to
	// export in its place.
	refuse, useInstead string
}

// Presets are the names that Config.Preset can have, beside PresetAuto.
func Presets() (names []string) {
	for _, p := range presets() {
		if p.refuse == "" {
			names = append(names, p.name)
		}
	}
	return names
}

// newPresets makes the layouts of all presets, for a source read as base says.
func newPresets(base *layout) []layout {
	table := presets()
	out := make([]layout, len(table))
	for i := range table {
		l := *base
		l.preset, l.mapped, l.wanted = &table[i], false, [fieldCount][]string{}
		for f, headers := range table[i].columns {
			l.wanted[f] = headers
		}
		l.wanted[fieldRefused] = fieldRefused.aliases()
		out[i] = l
	}
	return out
}

// usePresets makes the presets ready, and takes the one that is configured.
func (s *Source) usePresets() error {
	s.presets = newPresets(&s.layout)
	if s.cfg.Preset == "" || s.cfg.Preset == PresetAuto {
		return nil
	}
	if s.layout.mapped {
		return s.fault("preset and columns exclude each other", "remove one of both")
	}
	for _, l := range s.presets {
		if l.preset.name == s.cfg.Preset && l.preset.refuse == "" {
			s.layout = l
			return nil
		}
	}
	return s.fault("preset: "+quote(s.cfg.Preset)+" is not one of "+PresetAuto+" "+strings.Join(Presets(), " "), meant(s.cfg.Preset, Presets()))
}

// marked tells whether a header is the preset's.
func (p *preset) marked(folded []string) bool { return p.score(folded) == len(p.marks) }

// score counts the marks that a header has.
func (p *preset) score(folded []string) int { return score(p.marks, folded) }

func score(marks [][]string, folded []string) (n int) {
	for _, spellings := range marks {
		if slices.ContainsFunc(spellings, func(s string) bool { return slices.Contains(folded, s) }) {
			n++
		}
	}
	return n
}

// findTable finds the header of a file that is read by lay: our own or the
// configured columns first, then the trackers'.
func (s *Source) findTable(lay *layout, head []byte, lim *Limits) (*table, error) {
	t, err := lay.findHeader(head, lim)
	if lay.mapped || lay.preset != nil {
		if err != nil && lay.preset != nil {
			err = s.notThis(lay, head, lim, err)
		}
		return t, err
	}
	best, bestErr := (*table)(nil), error(nil)
	for i := range s.presets {
		l := s.presets[i]
		l.delim = lay.delim
		other, otherErr := l.findHeader(head, lim)
		switch {
		case errors.Is(otherErr, errNotMarked):
		case otherErr != nil:
			bestErr = otherErr
		case best == nil || other.found > best.found:
			best = other
		}
	}
	switch {
	case best != nil && best.lay.preset.first:
		return best, nil
	case err == nil:
		// What was read in one way before presets were known is read so for ever:
		// its entries are recorded under keys made of just these columns.
		if best != nil && best.lay.preset.insist {
			p := best.lay.preset
			return nil, &Error{
				Line: best.line, Message: "this looks like " + p.title + ", of which start and end are not the length",
				HintText: "set preset: " + p.name + "; or, if it is something else, map its columns with the columns key",
				Key:      "preset", Options: []string{p.name},
			}
		}
		if best != nil {
			t.like = best.lay.preset
		}
		return t, nil
	case best != nil:
		return best, nil
	case bestErr != nil:
		return nil, bestErr
	}
	return nil, s.nearest(lay, head, lim, err)
}

// errNotMarked says that no header of the preset was found.
var errNotMarked = errors.New("no header of this preset")

// notThis words the refusal of a file by a source that names its preset.
func (s *Source) notThis(lay *layout, head []byte, lim *Limits, err error) error {
	if !errors.Is(err, errNotMarked) {
		return err
	}
	p := lay.preset
	for i := range s.presets {
		l := s.presets[i]
		if l.delim = lay.delim; l.preset.refuse == "" {
			continue
		}
		_, refused := l.findHeader(head, lim)
		if o, ok := errors.AsType[*Error](refused); ok {
			o.Message = "the header is not that of " + p.title + ": " + o.Message
			return o
		}
	}
	own, newErr := newLayout(&Config{User: s.cfg.User})
	if newErr != nil {
		return newErr
	}
	own.delim = lay.delim
	e := &Error{Line: 1, Message: "the header is not that of " + p.title, HintText: "remove preset, so that the header decides"}
	if _, ownErr := own.findHeader(head, lim); ownErr != nil {
		o, ok := errors.AsType[*Error](ownErr)
		if !ok || !strings.Contains(o.Message, "no column") {
			return ownErr // there is no table at all
		}
		e.Line = o.Line
	}
	if near, lack := s.near(lay, head, lim); near != nil && near.name != p.name {
		e.HintText = "the nearest preset is " + near.name + "; set it, or remove preset so that the header decides"
	} else if near != nil && lack != "" {
		e.HintText = "the column " + quote(lack) + " is missing: export it too, or map the columns with the columns key"
	}
	return e
}

// nearest adds to the refusal of an unknown header the preset that it is most
// like.
func (s *Source) nearest(lay *layout, head []byte, lim *Limits, err error) error {
	e, ok := errors.AsType[*Error](err)
	if !ok || !strings.Contains(e.Message, "no column") {
		return err
	}
	near, lack := s.near(lay, head, lim)
	if near == nil {
		return err
	}
	e.HintText += "; the nearest preset is " + near.name + ", which wants a column " + quote(lack)
	return e
}

// near is the preset whose marks a header of the file has most of, at least
// two thirds, and the first mark that it lacks.
func (s *Source) near(lay *layout, head []byte, lim *Limits) (near *preset, lack string) {
	most := 0.0
	delims := []byte(delimiters)
	if lay.delim != 0 {
		delims = []byte{lay.delim}
	}
	for _, delim := range delims {
		fr := frameBytes(head, delim, lim)
		var rec frame
		for range headerSearch {
			if fr.next(&rec) != nil {
				break
			}
			folded := foldAll(rec.fields(delim))
			for i := range s.presets {
				p := s.presets[i].preset
				share := float64(p.score(folded)) / float64(len(p.marks))
				if p.refuse != "" || share < 0.65 || share <= most {
					continue
				}
				near, most, lack = p, share, ""
				for _, spellings := range p.marks {
					if !slices.ContainsFunc(spellings, func(w string) bool { return slices.Contains(folded, w) }) {
						lack = spellings[0]
						break
					}
				}
			}
		}
	}
	return near, lack
}

// findMarked looks for the preset's header: its marks, on one of the first lines.
func (l *layout) findMarked(head []byte, lim *Limits) (*table, error) {
	delims := []byte(delimiters)
	if l.delim != 0 {
		delims = []byte{l.delim}
	}
	for _, delim := range delims {
		fr := frameBytes(head, delim, lim)
		var rec frame
		for range headerSearch {
			if fr.next(&rec) != nil {
				break // the search for our own header reports it
			}
			if rec.bad != "" || rec.cr {
				continue
			}
			t := newTable(l, delim, &rec)
			folded := foldAll(t.header)
			if p := l.preset.pivoted; p != nil && score(p.marks, folded) == len(p.marks) && !l.preset.marked(folded) {
				t.pivoted, t.found = true, len(p.marks)
				return t, nil
			}
			if !l.preset.marked(folded) {
				continue
			}
			if l.preset.refuse != "" {
				return nil, &Error{Line: t.line, Message: l.preset.refuse, HintText: l.preset.useInstead}
			}
			var err error
			if t.at, t.found, err = l.match(t.header); err != nil {
				return nil, &Error{Line: t.line, Message: err.Error(), HintText: "rename one of the two, or leave one out of the export"}
			}
			if lack, want := l.complete(&t.at); lack != "" {
				e := &Error{Line: t.line, Message: "this is " + l.preset.title + ", but " + lack, HintText: "export that column too"}
				if want == fieldUser.aliases()[0] {
					e.HintText, e.Key = "set user to the one person whose hours these are", "user"
				}
				return nil, e
			}
			return t, nil
		}
	}
	return nil, errNotMarked
}

func foldAll(header []string) []string {
	out := make([]string, len(header))
	for i, h := range header {
		out[i] = fold(h)
	}
	return out
}
