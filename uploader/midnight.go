package uploader

import (
	"github.com/exampleco/tsupload/internal/timesheet"
)

// span is a row over midnight among the entries that are looked up together:
// itself, and behind it its later parts.
type span struct {
	at, parts int
	first     timesheet.Entry
}

// over adds a row over midnight to those that are looked up.
func (p *plan) over(e *timesheet.Entry, parts []timesheet.Entry) {
	p.spans = append(p.spans, span{at: len(p.group), parts: len(parts) - 1, first: parts[0]})
	p.group = append(append(p.group, *e), parts[1:]...)
}

// overMidnight plans a row over midnight: whole, or in parts. As which the
// ledger has it, it stays, so that the setting can be changed.
func (p *plan) overMidnight(s *span, found []*timesheet.Known) error {
	group, found := p.group[s.at:s.at+1+s.parts], found[s.at:]
	split := p.feed.Split && found[0] == nil
	for i := range s.parts {
		split = split || found[i+1] != nil
	}
	day := group[0].Day
	if !split {
		return p.one(&group[0], found[0], day)
	}
	p.report.Split += s.parts
	if err := p.one(&s.first, found[0], day); err != nil {
		return err
	}
	for i := range s.parts {
		if err := p.one(&group[i+1], found[i+1], day); err != nil {
			return err
		}
	}
	return nil
}

// elsewhere tells whether an entry that the read has not is a later part of a row
// that the read has not either: that is judged on the row's own day, of which
// the read may have nothing.
func (p *plan) elsewhere(k *timesheet.Known) (bool, error) {
	before, err := p.tx.Peek(k.Key.Prev())
	return before != nil && !before.Seen, err
}

// laterParts does with the later parts of a row that is gone as with its first.
func (p *plan) laterParts(v *judgement, key timesheet.Packed) error {
	for key = key.Next(); ; key = key.Next() {
		k, err := p.tx.Peek(key)
		if err != nil || k == nil || k.Seen {
			return err
		}
		switch {
		case k.State == timesheet.StateSent:
			v.missing = append(v.missing, key)
		case !atAPI(k.State) && k.State != timesheet.StateSkipped:
			v.withdrawn = append(v.withdrawn, key)
		}
	}
}
