package service

import (
	"context"
	"time"

	"google.golang.org/protobuf/types/known/timestamppb"

	tallydv1 "github.com/tallyd/tallyd/gen/tallyd/v1"
	"github.com/tallyd/tallyd/service/quota"
)

// quotas implements QuotaService.
type quotas struct {
	tallydv1.UnimplementedQuotaServiceServer

	quota *quota.Scheduler // nil without one
}

func (q *quotas) GetQuota(ctx context.Context, _ *tallydv1.GetQuotaRequest) (*tallydv1.GetQuotaResponse, error) {
	who := quota.CallerOf(ctx)
	own := &tallydv1.Quota{
		Weight: count(max(who.Weight, 1)), Priority: tallydv1.QuotaPriority_QUOTA_PRIORITY_INTERACTIVE, NextSlotTime: timestamppb.Now(),
	}
	if who.Batch {
		own.Priority = tallydv1.QuotaPriority_QUOTA_PRIORITY_BATCH
	}
	own.TotalWeight = own.GetWeight()
	if q.quota != nil {
		own.NextSlotTime = timestamppb.New(time.Now().Add(q.quota.Wait(who)))
		standing(own, q.quota.Standing(), who)
	}
	return &tallydv1.GetQuotaResponse{Quota: own}, nil
}

// standing fills in how things are for who.
func standing(own *tallydv1.Quota, now quota.Standing, who quota.Caller) {
	own.Limit, own.Margin, own.Used, own.Waiting = count(now.Rate), count(now.Margin), count(now.Used), count(now.Waiting)
	if !now.PausedUntil.IsZero() {
		own.PauseEndTime = timestamppb.New(now.PausedUntil)
	}
	for _, c := range now.Callers {
		switch {
		case c.Name == who.Name:
			// What it does at the other priority, such as an export, is its own as well.
			own.OwnUsed += count(c.Used)
			own.OwnWaiting += count(c.Waiting)
		case c.Batch == who.Batch && c.Caller != quota.House:
			own.TotalWeight += count(max(c.Weight, 1))
		}
	}
}

// count is a number that is small by its nature as the contract has it.
func count(n int) int32 { return int32(n) } //nolint:gosec // a rate, a weight or a queue's length
