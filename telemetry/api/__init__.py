"""The routes of `/api` about traces, usage and times: what is asked, checked, and the answers' shapes."""

from django.urls import path

from telemetry.api import exports, figures, sql, traces

ROUTES = [
    path("traces", traces.Traces.as_view(), name="rest-traces"),
    path("traces/<str:trace_id>", traces.OneTrace.as_view(), name="rest-trace"),
    path("traces/<str:trace_id>/explanation", traces.WhyItCosts.as_view(), name="rest-explanation"),
    path("usage", figures.UsageView.as_view(), name="rest-usage"),
    path("latency", figures.LatencyView.as_view(), name="rest-latency"),
    path("errors", figures.ErrorsView.as_view(), name="rest-errors"),
    path("cache", figures.CacheView.as_view(), name="rest-cache"),
    path("byok", figures.ByokView.as_view(), name="rest-byok"),
    path("unpriced", figures.UnpricedView.as_view(), name="rest-unpriced"),
    path("exports", exports.Exports.as_view(), name="rest-exports"),
    path("exports/<str:export_id>", exports.OneExport.as_view(), name="rest-export"),
    path("exports/<str:export_id>/file", exports.ExportFile.as_view(), name="rest-export-file"),
    path("sql", sql.Sql.as_view(), name="rest-sql"),
]
