//! Task service: tasks that run AI pipelines against quota.
