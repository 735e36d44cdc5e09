package source_test

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/exampleco/tsupload/source"
)

func Example() {
	export := "user,day,hours,project\nada,2026-03-02,7.5,Website\nada,2026-03-03,8h,Website\nada,2026-03-04,0,Website\n"
	src, err := source.New(source.Config{Name: "acme", Stdin: strings.NewReader(export), Location: time.UTC})
	if err != nil {
		fmt.Println(err)
		return
	}
	ctx := context.Background()
	reading, err := src.Open(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer reading.Close()
	survey, err := reading.Survey(ctx)
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Println(survey.Rows, "rows")
	err = reading.Rows(ctx, func(row *source.Row) error {
		switch {
		case row.Entry != nil:
			fmt.Println(row.Entry.Day, row.Entry.Person, row.Entry.Duration.Hours())
		case row.Rejection != nil:
			fmt.Println(row.Rejection.Origin, row.Rejection.Message)
		case row.Skipped != nil:
			fmt.Println(row.Skipped.Origin, row.Skipped.Reason)
		}
		return nil
	})
	if err != nil {
		fmt.Println(err)
	}
	// Output:
	// 3 rows
	// 2026-03-02 ada 7.5
	// -:3 "8h" is not a number of hours such as 7.5
	// -:4 zero
}
