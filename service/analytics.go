package service

import (
	"context"

	tallydv1 "github.com/tallyd/tallyd/gen/tallyd/v1"
)

// analytics implements AnalyticsService.
type analytics struct {
	tallydv1.UnimplementedAnalyticsServiceServer

	tally Tally
}

func (a *analytics) GetMetrics(ctx context.Context, req *tallydv1.GetMetricsRequest) (*tallydv1.GetMetricsResponse, error) {
	return call[tallydv1.GetMetricsResponse](ctx, a.tally, req)
}

func (a *analytics) GetVisits(ctx context.Context, req *tallydv1.GetVisitsRequest) (*tallydv1.GetVisitsResponse, error) {
	return call[tallydv1.GetVisitsResponse](ctx, a.tally, req)
}

func (a *analytics) GetSubmissionCounts(ctx context.Context, req *tallydv1.GetSubmissionCountsRequest) (*tallydv1.GetSubmissionCountsResponse, error) {
	return call[tallydv1.GetSubmissionCountsResponse](ctx, a.tally, req)
}

func (a *analytics) GetDimensions(ctx context.Context, req *tallydv1.GetDimensionsRequest) (*tallydv1.GetDimensionsResponse, error) {
	return call[tallydv1.GetDimensionsResponse](ctx, a.tally, req)
}

func (a *analytics) GetDropOff(ctx context.Context, req *tallydv1.GetDropOffRequest) (*tallydv1.GetDropOffResponse, error) {
	return call[tallydv1.GetDropOffResponse](ctx, a.tally, req)
}
