package page

import (
	"cmp"
	"math"
	"slices"
	"strconv"
	"time"
)

// week is the hours of one week, from Monday to Sunday.
type week struct {
	Year, Number int // ISO 8601
	Monday       string
	Entries      int
	seconds      int64
	of           int64 // the seconds of the fullest week
}

// Amount is the hours, as people write them.
func (w week) Amount() string { return amount(w.seconds) }

// Share is how full the week is, of the fullest one, in percent.
func (w week) Share() int { return int(100 * w.seconds / max(w.of, 1)) }

// seconds is the entry's time; the API says it in hours.
func (e entry) seconds() int64 { return int64(math.Round(e.Hours * 3600)) }

// amount writes seconds as hours, with as many decimals as they need, four at
// most.
func amount(seconds int64) string {
	return strconv.FormatFloat(math.Round(float64(seconds)/3600*1e4)/1e4, 'f', -1, 64)
}

// perWeek adds up entries by week, the latest first. A date that is none is left
// out; the API has none such.
func perWeek(entries []entry) []week {
	weeks := make(map[string]*week)
	for _, e := range entries {
		day, err := time.Parse(time.DateOnly, e.Day())
		if err != nil {
			continue
		}
		monday := day.AddDate(0, 0, -(int(day.Weekday())+6)%7).Format(time.DateOnly)
		w := weeks[monday]
		if w == nil {
			w = &week{Monday: monday}
			w.Year, w.Number = day.ISOWeek()
			weeks[monday] = w
		}
		w.Entries++
		w.seconds += e.seconds()
	}
	var list []week
	fullest := int64(0)
	for _, w := range weeks {
		list = append(list, *w)
		fullest = max(fullest, w.seconds)
	}
	for i := range list {
		list[i].of = fullest
	}
	slices.SortFunc(list, func(a, b week) int { return cmp.Compare(b.Monday, a.Monday) })
	return list
}
